package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// figure is a number of tokens, or a multiple of another: "224000", "0.7x".
type figure struct {
	value    float64
	multiple bool
	set      bool
}

// UnmarshalText reads a figure from the command line.
func (f *figure) UnmarshalText(text []byte) error {
	s, multiple := strings.CutSuffix(string(text), "x")
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v > 0) || math.IsInf(v, 0) {
		return fmt.Errorf("must be a positive number of tokens, such as 224000, or a multiple, such as 0.7x, not %q", text)
	}
	*f = figure{v, multiple, true}
	return nil
}

// of is the figure in tokens, at least 1, where multiples are of base.
func (f figure) of(base float64) int64 {
	v := f.value
	if f.multiple {
		v *= base
	}
	return max(1, int64(math.Round(min(v, 1e12))))
}

// or is f, or the default when f was not given.
func (f figure) or(multiple float64) figure {
	if f.set {
		return f
	}
	return figure{multiple, true, true}
}
