package bench

import "math/bits"

// bitset is a growing set of sequence numbers, which are dense from zero.
type bitset []uint64

func (b *bitset) set(n int) {
	word := n / 64
	if word >= len(*b) {
		grown := make(bitset, max(word+1, 2*len(*b)))
		copy(grown, *b)
		*b = grown
	}
	(*b)[word] |= 1 << (n % 64)
}

func (b bitset) has(n int) bool {
	word := n / 64
	return word < len(b) && b[word]&(1<<(n%64)) != 0
}

func (b bitset) count() int {
	total := 0
	for _, word := range b {
		total += bits.OnesCount64(word)
	}
	return total
}
