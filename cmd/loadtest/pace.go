package main

import (
	"math"
	"time"
)

// pace is how long calls take: base, and token for each that is generated, both divided by speed. The zero pace is no
// time at all.
type pace struct {
	base, token time.Duration
	speed       float64
}

const (
	defaultCallBase  = 200 * time.Millisecond
	defaultCallToken = 5 * time.Millisecond
)

// of is how long a call takes until it has generated so many tokens. It is at most 292 years.
func (p pace) of(generated int64) time.Duration {
	return p.divided(float64(p.base) + float64(p.token)*float64(generated))
}

// divided divides a time in nanoseconds by the speed.
func (p pace) divided(ns float64) time.Duration {
	if ns == 0 {
		return 0
	}
	if f := math.Round(ns / p.speed); f < math.MaxInt64 {
		return time.Duration(f)
	}
	return math.MaxInt64
}
