package limiter

import (
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

func TestParseWhole(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "-0": 0, "0.0": 0, "0e0": 0, "0e400": 0, "0e-400": 0, "-0.000E+7": 0,
		"7": 7, "10": 10, "1200": 1200, "1200.0": 1200, "1200.00": 1200, "1.2e3": 1200, "1.2E+3": 1200, "12e2": 1200, "0.0012e6": 1200,
		"120000e-2": 1200, "1.200000e3": 1200, "1e0": 1, "1e00000000000": 1, "-1.5e1": -15, "100e-2": 1,
		"1e12": 1e12, "1000000000000.000": 1e12, "1000000000001": 1000000000001, "1.000000000001e12": 1000000000001,
		"9007199254740993": 9007199254740993, "9007199254740993.0": 9007199254740993, "9.007199254740993e15": 9007199254740993,
		"9223372036854775807": 9223372036854775807, "9223372036854775807.0": 9223372036854775807, "-9.223372036854775807e18": -9223372036854775807,
		"1" + strings.Repeat("0", 50) + "e-50": 1, "0." + strings.Repeat("0", 49) + "1e50": 1,
	} {
		if got, ok := ParseWhole(text); !ok || got != want {
			t.Errorf("%s: %d, %v, want %d", text, got, ok, want)
		}
		if got, ok := ParseWhole([]byte(text)); !ok || got != want {
			t.Errorf("%s as bytes: %d, %v, want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{
		"1.5", "0.1", "1200.01", "1.23e1", "1e-1", "12e-2", "-0.5", "1e-400", "1.0000000000000000000000001", "1e-99999999999999999999",
		"9223372036854775808", "9223372036854775807.5", "9.223372036854775808e18", "1e19", "1e400", "-1e400", "1e99999999999999999999",
		"99999999999999999999", "99999999999999999999e-5", strings.Repeat("9", 1000),
	} {
		if got, ok := ParseWhole(text); ok {
			t.Errorf("%s: %d", text, got)
		}
	}
}

// TestParseWholeIsQuick: no exponent and no number of digits makes work that is not in proportion to the text.
func TestParseWholeIsQuick(t *testing.T) {
	long := strings.Repeat("0", 1<<20)
	began := time.Now()
	for _, text := range []string{"1e999999999", "1e-999999999", "1" + long + "e-1048576", "0." + long + "1", "1e" + long, "1e" + strings.Repeat("9", 1<<20)} {
		ParseWhole(text)
	}
	if took := time.Since(began); took > 5*time.Second { // some ms; a number of 10^9 digits would take longer
		t.Error("took", took)
	}
}

// FuzzParseWhole compares with exact rationals.
func FuzzParseWhole(f *testing.F) {
	for _, text := range []string{"1200", "1200.0", "1.2e3", "-0.0e1", "1e-1", "9223372036854775807", "100e-2", "1e18", "92233720368547758080e-1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v := jsontext.Value(text)
		if len(text) > 40 || !v.IsValid() || v.Kind() != '0' || strings.TrimSpace(text) != text {
			return
		}
		if _, exponent, ok := strings.Cut(strings.ToLower(text), "e"); ok && len(strings.TrimLeft(exponent, "+-0")) > 3 {
			return // too much for the rationals
		}
		exact, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatal(text)
		}
		got, ok := ParseWhole(text)
		whole := exact.IsInt() && new(big.Int).Abs(exact.Num()).Cmp(big.NewInt(1<<63-1)) <= 0
		if ok != whole || ok && exact.Num().Int64() != got {
			t.Errorf("%s: %d, %v", text, got, ok)
		}
	})
}
