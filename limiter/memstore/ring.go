package memstore

// ring has things each once, so that a sweep can go on where the last one ended.
type ring[T any] struct {
	items []T
	hand  int
}

func (r *ring[T]) add(item T) { r.items = append(r.items, item) }

// sweep looks at the next few, drops those that are over, and returns how many that were.
func (r *ring[T]) sweep(steps int, over func(T) bool) (dropped int64) {
	for range min(steps, len(r.items)) {
		if r.hand >= len(r.items) {
			r.hand = 0
		}
		if !over(r.items[r.hand]) {
			r.hand++
			continue
		}
		var none T
		last := len(r.items) - 1
		r.items[r.hand], r.items[last] = r.items[last], none
		r.items = r.items[:last]
		dropped++
	}
	return dropped
}
