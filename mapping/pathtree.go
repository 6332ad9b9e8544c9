package mapping

import "strings"

// pathTree is the set of the payload's members that the expressions of a route name. One pass over the text finds them all.
type pathTree struct {
	root  pathNode
	count int
}

type pathNode struct {
	children []pathChild // few: compared one by one
	index    int         // where the value goes, -1: only its members are wanted
}

type pathChild struct {
	key  string
	node *pathNode
}

// add enters a path, written as in the expressions' variables (every key with pathMark before it), and returns its index.
func (t *pathTree) add(path string) int {
	if t.count == 0 {
		t.root.index = -1
	}
	n := &t.root
	for key := range strings.SplitSeq(strings.TrimPrefix(path, pathMark), pathMark) {
		n = n.child(key)
	}
	if n.index < 0 {
		n.index = t.count
		t.count++
	}
	return n.index
}

func (n *pathNode) child(key string) *pathNode {
	for _, c := range n.children {
		if c.key == key {
			return c.node
		}
	}
	c := &pathNode{index: -1}
	n.children = append(n.children, pathChild{key, c})
	return c
}

// find returns the node of a key, nil if nobody asks for it.
func (n *pathNode) find(key []byte) *pathNode {
	for i := range n.children {
		if n.children[i].key == string(key) {
			return n.children[i].node
		}
	}
	return nil
}
