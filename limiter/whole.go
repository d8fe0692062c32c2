package limiter

import "math"

// ParseWhole returns the value of a JSON number if that is whole, however it is written: 1200, 1200.0 and 1.2e3 are one
// number. It is exact. ok is false for a fraction such as 1.5, and beyond ±(2^63-1). The text must be a number by the
// grammar of JSON. The work is in proportion to its length, whatever its exponent.
func ParseWhole[T string | []byte](number T) (n int64, ok bool) {
	negative := number[0] == '-'
	i := 0
	if negative {
		i++
	}
	zeros, decimals, point := 0, 0, false // zeros have been read after the last digit that counts
	for ; i < len(number) && number[i] != 'e' && number[i] != 'E'; i++ {
		c := number[i]
		switch {
		case c == '.':
			point = true
			continue
		case c == '0':
			zeros++
		default:
			if n, ok = shifted(n, zeros+1, int64(c-'0')); !ok {
				return 0, false
			}
			zeros = 0
		}
		if point {
			decimals++
		}
	}
	if n == 0 {
		return 0, true
	}
	exponent := zeros - decimals
	if i < len(number) {
		exponent += parseExponent(number[i+1:])
	}
	if exponent < 0 {
		return 0, false
	}
	if n, ok = shifted(n, exponent, 0); ok && negative {
		n = -n
	}
	return n, ok
}

// shifted returns n·10^places + add, if that is an int64.
func shifted(n int64, places int, add int64) (int64, bool) {
	for ; places > 0 && n > 0; places-- {
		if n > math.MaxInt64/10 {
			return 0, false
		}
		n *= 10
	}
	if n > math.MaxInt64-add {
		return 0, false
	}
	return n + add, true
}

// parseExponent returns the exponent of a JSON number. One that is beyond all numbers of 2^30 digits counts as that.
func parseExponent[T string | []byte](text T) int {
	const far = 1 << 30
	e, sign := 0, 1
	for i := range len(text) {
		switch c := text[i]; c {
		case '-':
			sign = -1
		case '+':
		default:
			e = min(e*10+int(c-'0'), far)
		}
	}
	return sign * e
}
