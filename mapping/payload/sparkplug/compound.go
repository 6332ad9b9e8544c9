package sparkplug

import (
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// typedValue is a value next to its type, as properties, parameters and cells have it.
type typedValue struct {
	kind DataType
	null bool
	raw  raw
}

func (v typedValue) value() (any, error) {
	if v.null {
		return nil, nil
	}
	return v.raw.value(v.kind)
}

func (d *decoding) propertySet(f field, depth int) (map[string]any, error) {
	if err := f.want(protowire.BytesType); err != nil {
		return nil, err
	}
	if err := d.enter(f.at, depth); err != nil {
		return nil, err
	}
	var keys []string
	var values []any
	err := d.fields(f.data, f.at, func(part field) error {
		switch part.number {
		case 1:
			keys = append(keys, text(part.data))
		case 2:
			v, err := d.propertyValue(part, depth)
			if err != nil {
				return err
			}
			values = append(values, v)
		default:
			return nil
		}
		return part.want(protowire.BytesType)
	})
	if err != nil {
		return nil, err
	}
	if len(keys) != len(values) {
		return nil, fault(f.at, ErrSyntax, "a property set with %d keys and %d values", len(keys), len(values))
	}
	set := make(map[string]any, len(keys))
	for i, key := range keys {
		set[key] = values[i]
	}
	return set, nil
}

func (d *decoding) propertyValue(f field, depth int) (any, error) {
	if err := f.want(protowire.BytesType); err != nil {
		return nil, err
	}
	if err := d.count(f.at, 1); err != nil {
		return nil, err
	}
	var v typedValue
	var tree any
	err := d.fields(f.data, f.at, func(part field) (err error) {
		switch part.number {
		case 1:
			v.kind, err = dataType(part.bits), part.want(protowire.VarintType)
		case 2:
			v.null, err = part.bits != 0, part.want(protowire.VarintType)
		case 3, 4, 5, 6, 7, 8:
			v.raw, err = scalar(part, 3)
		case 9:
			tree, err = d.propertySet(part, depth+1)
		case 10:
			tree, err = d.propertySetList(part, depth+1)
		}
		return err
	})
	if err != nil || tree != nil && !v.null {
		return tree, err
	}
	return v.value()
}

func (d *decoding) propertySetList(f field, depth int) (any, error) {
	if err := f.want(protowire.BytesType); err != nil {
		return nil, err
	}
	if err := d.enter(f.at, depth); err != nil {
		return nil, err
	}
	list := []any{}
	err := d.fields(f.data, f.at, func(part field) error {
		if part.number != 1 {
			return nil
		}
		set, err := d.propertySet(part, depth+1)
		if err != nil {
			return err
		}
		list = append(list, set)
		return d.count(part.at, 1)
	})
	return list, err
}

// metaData is what comes with files and parts of them; kept as an object with the specification's names.
func (d *decoding) metaData(f field) (map[string]any, error) {
	if err := f.want(protowire.BytesType); err != nil {
		return nil, err
	}
	names := [...]string{1: "is_multi_part", 2: "content_type", 3: "size", 4: "seq", 5: "file_name", 6: "file_type", 7: "md5", 8: "description"}
	meta := map[string]any{}
	err := d.fields(f.data, f.at, func(part field) error {
		if part.number < 1 || int(part.number) >= len(names) {
			return nil
		}
		name := names[part.number]
		switch part.number {
		case 1:
			meta[name] = part.bits != 0
			return part.want(protowire.VarintType)
		case 3, 4:
			meta[name] = unsigned(part.bits)
			return part.want(protowire.VarintType)
		}
		meta[name] = text(part.data)
		return part.want(protowire.BytesType)
	})
	return meta, err
}

// dataSet becomes a list of rows, each an object by column name.
func (d *decoding) dataSet(f field) (any, error) {
	if err := f.want(protowire.BytesType); err != nil {
		return nil, err
	}
	var columns []string
	var types []DataType
	var rows []field
	err := d.fields(f.data, f.at, func(part field) error {
		switch part.number {
		case 2:
			columns = append(columns, text(part.data))
			return part.want(protowire.BytesType)
		case 3:
			if part.kind != protowire.BytesType {
				types = append(types, dataType(part.bits))
				return part.want(protowire.VarintType)
			}
			for packed := part.data; len(packed) > 0; { // proto3 encoders pack the list
				n, size := protowire.ConsumeVarint(packed)
				if size < 0 {
					return fault(part.at, ErrSyntax, "the types of a data set are damaged")
				}
				types, packed = append(types, dataType(n)), packed[size:]
			}
		case 4:
			rows = append(rows, part)
			return part.want(protowire.BytesType)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(columns) != len(types) {
		return nil, fault(f.at, ErrSyntax, "a data set with %d columns and %d types", len(columns), len(types))
	}
	out := make([]any, 0, min(len(rows), d.limits.MaxItems))
	for _, row := range rows {
		object := make(map[string]any, len(columns))
		column := 0
		if err := d.count(row.at, 1+len(columns)); err != nil {
			return nil, err
		}
		err := d.fields(row.data, row.at, func(cell field) error {
			if cell.number != 1 {
				return nil
			}
			if column >= len(columns) {
				return fault(cell.at, ErrSyntax, "a row with more cells than the %d columns", len(columns))
			}
			v, err := d.cell(cell, types[column])
			object[columns[column]] = v
			column++
			return err
		})
		if err != nil {
			return nil, err
		}
		if column != len(columns) {
			return nil, fault(row.at, ErrSyntax, "a row with %d cells under %d columns", column, len(columns))
		}
		out = append(out, object)
	}
	return out, nil
}

// cell reads one cell; an empty one is null.
func (d *decoding) cell(f field, kind DataType) (any, error) {
	if err := f.want(protowire.BytesType); err != nil {
		return nil, err
	}
	v := typedValue{kind: kind}
	err := d.fields(f.data, f.at, func(part field) (err error) {
		if part.number >= 1 && part.number <= 6 {
			v.raw, err = scalar(part, 1)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return v.value()
}

// template becomes an object: ref and version where told, definition when it is one, metrics and parameters by
// name.
func (d *decoding) template(f field, depth int) (any, error) {
	if err := f.want(protowire.BytesType); err != nil {
		return nil, err
	}
	if err := d.enter(f.at, depth); err != nil {
		return nil, err
	}
	metrics, parameters := map[string]any{}, map[string]any{}
	out := map[string]any{"metrics": metrics}
	err := d.fields(f.data, f.at, func(part field) error {
		switch part.number {
		case 1:
			out["version"] = text(part.data)
		case 2:
			m, err := d.metric(part.data, part.at, depth)
			if err != nil {
				return err
			}
			name := m.Name
			if name == "" && m.HasAlias {
				name = AliasName(m.Alias)
			}
			if metrics[name], err = m.Value(Unknown); err != nil {
				return err
			}
		case 3:
			name, v, err := d.parameter(part)
			if err != nil {
				return err
			}
			parameters[name] = v
			out["parameters"] = parameters
		case 4:
			out["ref"] = text(part.data)
		case 5:
			if part.bits != 0 {
				out["definition"] = true
			}
			return part.want(protowire.VarintType)
		default:
			return nil
		}
		return part.want(protowire.BytesType)
	})
	return out, err
}

func (d *decoding) parameter(f field) (string, any, error) {
	if err := f.want(protowire.BytesType); err != nil {
		return "", nil, err
	}
	if err := d.count(f.at, 1); err != nil {
		return "", nil, err
	}
	var name string
	var v typedValue
	err := d.fields(f.data, f.at, func(part field) (err error) {
		switch part.number {
		case 1:
			name, err = text(part.data), part.want(protowire.BytesType)
		case 2:
			v.kind, err = dataType(part.bits), part.want(protowire.VarintType)
		case 3, 4, 5, 6, 7, 8:
			v.raw, err = scalar(part, 3)
		}
		return err
	})
	if err != nil {
		return "", nil, err
	}
	value, err := v.value()
	return name, value, err
}

// AliasName names a metric of which only the alias is known.
func AliasName(alias uint64) string { return "alias_" + strconv.FormatUint(alias, 10) }
