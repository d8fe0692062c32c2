package memstore

import (
	"unsafe"

	"github.com/permitd/permitd/limiter/internal/size"
)

// table has things by a key, each of which knows its own, and goes round them, so that a sweep can go on where the last one
// ended.
type table[K comparable, V interface{ name() K }] struct {
	byKey dict[K, V]
	items []V
	hand  int
}

func (t *table[K, V]) get(key K) V { return t.byKey.entries[key] }

// add adds a thing with a new key.
func (t *table[K, V]) add(v V) {
	t.byKey.set(v.name(), v)
	t.items = append(t.items, v)
}

// sweep looks at the next few and drops those that are over.
func (t *table[K, V]) sweep(steps int, over func(V) bool) {
	for range min(steps, len(t.items)) {
		if t.hand >= len(t.items) {
			t.hand = 0
		}
		v := t.items[t.hand]
		if !over(v) {
			t.hand++
			continue
		}
		var none V
		last := len(t.items) - 1
		t.items[t.hand], t.items[last] = t.items[last], none
		t.items = t.items[:last]
		if t.byKey.delete(v.name()) {
			t.items = append([]V(nil), t.items...)
		}
	}
}

// entryBytes is what the table takes for each thing.
func (t *table[K, V]) entryBytes() int64 {
	var v V
	return t.byKey.entryBytes() + size.SliceEntry(int(unsafe.Sizeof(v)))
}

// dict is a map that does not stay large when it has been.
type dict[K comparable, V any] struct {
	entries map[K]V
	most    int // entries since the map was made
}

// small is how many entries a map may have had that is left as it is.
const small = 8

func (d *dict[K, V]) set(key K, v V) {
	if d.entries == nil {
		d.entries = map[K]V{}
	}
	d.entries[key] = v
	d.most = max(d.most, len(d.entries))
}

// delete reports whether the map was made anew, having half of the entries that it had, or fewer.
func (d *dict[K, V]) delete(key K) (shrunk bool) {
	delete(d.entries, key)
	if d.most <= small || len(d.entries) > d.most/2 {
		return false
	}
	fewer := make(map[K]V, len(d.entries))
	for k, v := range d.entries {
		fewer[k] = v
	}
	d.entries, d.most = fewer, len(fewer)
	return true
}

func (d *dict[K, V]) entryBytes() int64 {
	var k K
	var v V
	return size.MapEntry(int(unsafe.Sizeof(k) + unsafe.Sizeof(v)))
}
