package arch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"testing"
)

// hidden are the libraries whose types must not show outside their package.
var hidden = []string{
	"github.com/mochi-mqtt/server",
	"github.com/dgraph-io/badger",
	"github.com/eclipse/paho.mqtt.golang",
}

// Exported signatures, fields and variables name no type of a hidden library.
func TestHiddenLibrariesDoNotShow(t *testing.T) {
	t.Parallel()
	fset := token.NewFileSet()
	for _, p := range list(t) {
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			names := hiddenNames(file)
			if len(names) == 0 {
				continue
			}
			for _, decl := range file.Decls {
				for _, expr := range exported(decl) {
					ast.Inspect(expr, func(n ast.Node) bool {
						if sel, ok := n.(*ast.SelectorExpr); ok {
							if x, ok := sel.X.(*ast.Ident); ok && names[x.Name] {
								t.Errorf("%s: %s.%s shows in an exported signature", fset.Position(sel.Pos()), x.Name, sel.Sel.Name)
							}
						}
						return true
					})
				}
			}
		}
	}
}

// hiddenNames are the names by which a file knows hidden libraries.
func hiddenNames(file *ast.File) map[string]bool {
	names := make(map[string]bool)
	for _, imp := range file.Imports {
		path, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			continue
		}
		for _, library := range hidden {
			if !under(path, library) {
				continue
			}
			if imp.Name != nil {
				names[imp.Name.Name] = true
				continue
			}
			// The last element that is no version is the package's name in all
			// of these but two.
			base := filepath.Base(path)
			if len(base) > 1 && base[0] == 'v' && base[1] >= '0' && base[1] <= '9' {
				base = filepath.Base(filepath.Dir(path))
			}
			names[base], names["mqtt"] = true, true
		}
	}
	return names
}

// exported lists the type expressions of a declaration that others can see.
func exported(decl ast.Decl) []ast.Node {
	var out []ast.Node
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && (d.Recv == nil || receiverExported(d.Recv)) {
			out = append(out, d.Type)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() {
					out = append(out, visible(s.Type)...)
				}
			case *ast.ValueSpec:
				for _, name := range s.Names {
					if name.IsExported() && s.Type != nil {
						out = append(out, s.Type)
					}
				}
			}
		}
	}
	return out
}

func receiverExported(recv *ast.FieldList) bool {
	t := recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	id, ok := t.(*ast.Ident)
	return !ok || id.IsExported()
}

// visible is a type without the fields of a struct that are not exported.
func visible(t ast.Expr) []ast.Node {
	s, ok := t.(*ast.StructType)
	if !ok {
		return []ast.Node{t}
	}
	var out []ast.Node
	for _, f := range s.Fields.List {
		shown := len(f.Names) == 0
		for _, name := range f.Names {
			shown = shown || name.IsExported()
		}
		if shown {
			out = append(out, f.Type)
		}
	}
	return out
}
