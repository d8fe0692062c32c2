package pack

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.SliceOf(rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{0, 63, -64, math.MaxInt64, math.MinInt64}))).Draw(t, "numbers")
		words := rapid.SliceOf(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "requests", "tokens"}))).Draw(t, "words")
		var w Writer
		for _, n := range numbers {
			w.Int(n)
			w.Bool(n > 0)
		}
		for _, s := range words {
			w.Word(s)
			w.Text(s)
		}
		r := Read(string(w.Bytes) + "rest")
		for _, n := range numbers {
			if got, positive := r.Int(), r.Bool(); got != n || positive != (n > 0) {
				t.Fatalf("%d %v, want %d", got, positive, n)
			}
		}
		for _, s := range words {
			if word, text := r.Word(), r.Text(); word != s || text != s {
				t.Fatalf("%q %q, want %q", word, text, s)
			}
		}
		if r.Bad() || r.Rest() != "rest" {
			t.Fatalf("bad %v, rest %q", r.Bad(), r.Rest())
		}
	})
}

// TestAnythingCanBeRead: nothing that is stored makes a reader fail otherwise than by Bad.
func TestAnythingCanBeRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Read(string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")))
		for range 20 {
			r.Int()
			r.Len()
			r.Word()
			r.Text()
		}
		if !r.Bad() && r.Rest() == "" {
			r.Int()
		}
		if r.Rest() == "" && !r.Bad() {
			t.Fatal("read more than there was")
		}
	})
}

func TestWordsTakeAByteTheSecondTime(t *testing.T) {
	var w Writer
	w.Word("input_tokens")
	first := len(w.Bytes)
	w.Word("input_tokens")
	if again := len(w.Bytes) - first; again != 1 {
		t.Errorf("%d bytes", again)
	}
}
