// Package size tells how many bytes of the heap things take, as the runtime of Go lays them out.
package size

// Alloc returns what an object of n bytes takes: the runtime has sizes in steps of 16 up to 256 bytes, and then of about an eighth.
func Alloc(n int) int64 {
	switch {
	case n <= 0:
		return 0
	case n <= 8:
		return 8
	case n > 16 && n <= 24:
		return 24
	case n <= 256:
		return roundUp(n, 16)
	}
	step := 32
	for limit := 512; n > limit && step < 1<<13; limit *= 2 {
		step *= 2
	}
	return roundUp(n, step)
}

func roundUp(n, step int) int64 { return int64((n + step - 1) / step * step) }

// Text returns what a text takes that nothing else has.
func Text(s string) int64 { return Alloc(len(s)) }

// MapEntry returns what an entry of a map takes whose key and value have n bytes together. Maps double when they are 7/8 full,
// so that it is from 8/7 to 16/7 of that, and a byte of control; this is between.
func MapEntry(n int) int64 { return int64(n+1) * 33 / 20 }

// SliceEntry returns what an entry of n bytes takes in a slice that grows by append.
func SliceEntry(n int) int64 { return int64(n) * 5 / 4 }
