package size

import "testing"

// TestAlloc compares with what append takes, which fills up the size that the runtime gives it.
func TestAlloc(t *testing.T) {
	for n := 1; n < 20000; n += 1 + n/50 {
		real := int64(cap(append([]byte(nil), make([]byte, n)...)))
		if got := Alloc(n); float64(got) < 0.85*float64(real) || float64(got) > 1.15*float64(real) && got > 16 {
			t.Errorf("%d bytes take %d, not %d", n, real, got)
		}
	}
	if Alloc(0) != 0 {
		t.Error("nothing takes something")
	}
}
