package sqlite

import (
	"database/sql/driver"
	"math"

	"strata/catalog"
)

// form is what SQLite stores a cell as.
type form uint8

const (
	formNull form = iota
	formInt
	formFloat
	formText
	formBlob
)

// cell is a stored form on its way to a statement. It holds no pointer, so that very many of them cost the collector nothing.
type cell struct {
	n    int64 // the integer, the bits of the float, or where in the texts it begins
	size int32 // of a text or blob
	form form
}

// cells are stored forms, one after the other, with the bytes of their texts. Its memory is reused.
type cells struct {
	list []cell
	text []byte
}

func (c *cells) reset() { c.list, c.text = c.list[:0], c.text[:0] }

// cut takes back what came after a place and its texts.
func (c *cells) cut(list, text int) { c.list, c.text = c.list[:list], c.text[:text] }

func (c *cells) null() { c.list = append(c.list, cell{}) }

func (c *cells) int(v int64) { c.list = append(c.list, cell{n: v, form: formInt}) }

// bytes appends a text or a blob, copying it.
func (c *cells) bytes(b []byte, as form) {
	c.list = append(c.list, cell{n: int64(len(c.text)), size: int32(len(b)), form: as})
	c.text = append(c.text, b...)
}

// value appends a value of encode's.
func (c *cells) value(v driver.Value) {
	switch x := v.(type) {
	case int64:
		c.int(x)
	case float64:
		c.list = append(c.list, cell{n: int64(math.Float64bits(x)), form: formFloat})
	case string:
		c.list = append(c.list, cell{n: int64(len(c.text)), size: int32(len(x)), form: formText})
		c.text = append(c.text, x...)
	case []byte:
		c.bytes(x, formBlob)
	default:
		c.null()
	}
}

// encoded appends encode's form of a cell, or nothing where it isn't one that can be stored. What nearly all cells are takes no
// memory of its own.
func (c *cells) encoded(t catalog.Type, raw []byte) fit {
	switch {
	case raw == nil:
		c.null()
		return exact
	case asText(t.Kind):
		c.bytes(raw, formText)
		return exact
	case t.Kind == catalog.Int || t.Kind == catalog.Uint:
		if v, ok := plainInt(raw); ok {
			c.int(v)
			return exact
		}
	}
	v, f := encode(t, raw)
	if f == exact || f == loose {
		c.value(v)
	}
	return f
}
