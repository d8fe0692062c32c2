package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/permitd/permitd/limiter"
)

// mockFlags are the flags of a mock provider's limits, but for its capacity.
type mockFlags struct {
	Mock            string `enum:"bucket,window" default:"bucket" help:"How the mock provider limits: token bucket, or exact sliding window."`
	Per             string `default:"${per}" help:"The duration that --capacity is for; a replay divides it by the speed."`
	MockBurst       figure `placeholder:"0.75x" help:"What the token bucket holds; 0.75x is 0.75 times --capacity."`
	AccountCapacity figure `placeholder:"0.5x" help:"No account gets more than this per --per; 0.5x is 0.5 times --capacity. An account's bucket is to the platform's as its capacity. Default: accounts have no limit."`
}

func (f *mockFlags) check() error {
	if f.Mock == mockWindow && f.MockBurst.set {
		return errors.New("--mock-burst goes with --mock=bucket")
	}
	return nil
}

// limits are those of a provider of amount tokens per per.
func (f *mockFlags) limits(amount int64, per time.Duration) mockLimits {
	l := mockLimits{kind: f.Mock, amount: amount, burst: amount, per: per}
	if f.Mock == mockBucket {
		l.burst = f.MockBurst.or(0.75).of(float64(amount))
	}
	if f.AccountCapacity.set {
		l.account = f.AccountCapacity.of(float64(amount))
	}
	return l
}

// mockCmd is the subcommand mock.
type mockCmd struct {
	Addr      string `default:"127.0.0.1:0" help:"Where to listen; port 0 is a free one, which is printed."`
	Capacity  int64  `default:"100000" help:"Tokens per --per that the provider admits, of prompts and answers."`
	mockFlags `embed:"" set:"per=1m"`
	CallBase  time.Duration `default:"200ms" help:"How long a call takes, and"`
	CallToken time.Duration `default:"5ms" help:"how much longer for each generated token."`
}

// Help is printed below the flags.
func (c *mockCmd) Help() string {
	return `POST ` + chatPath + ` as OpenAI has it, plain or with "stream": true; give a client of OpenAI the address that is printed as
its base URL, and any API key. Each key is an account of its own.

A prompt counts a token for four characters, and max_completion_tokens (default 16) are generated. Metadata of a call say
otherwise, as strings: prompt_tokens, cached_tokens, and completion_tokens, which is never above max_completion_tokens if that
is given. A call is charged when it arrives, with all of its tokens. Answers carry x-ratelimit-limit-tokens, -remaining-tokens
and -reset-tokens, of the limit with the least room; a 429 has OpenAI's error, retry-after, retry-after-ms, and
x-mock-refused-by, which is platform, account or both. A call that could never fit is 400.`
}

// Run serves until ctx ends.
func (c *mockCmd) Run(ctx context.Context, s streams) error {
	per, err := limiter.ParseDuration(c.Per)
	switch {
	case err != nil:
		err = fmt.Errorf("--per %w", err)
	case per <= 0:
		err = errors.New("--per must be above 0s")
	case c.Capacity < 1 || c.Capacity > limiter.MaxAmount:
		err = fmt.Errorf("--capacity must be a number of tokens from 1 to %d", int64(limiter.MaxAmount))
	case c.CallBase < 0 || c.CallToken < 0:
		err = errors.New("--call-base and --call-token must be at least 0s")
	default:
		err = c.check()
	}
	if err != nil {
		return usageError{err}
	}
	began := time.Now()
	limits := c.limits(c.Capacity, per)
	url, stop, err := serveAt(c.Addr, newMockProvider(mockConfig{
		limits: limits, pace: pace{c.CallBase, c.CallToken, 1}, now: func() time.Duration { return time.Since(began) },
	}))
	if err != nil {
		return usageError{fmt.Errorf("--addr: %w", err)}
	}
	defer stop()
	fmt.Fprintf(s.out, "mock provider listening on %s/v1\n%s\n", url, limits)
	<-ctx.Done()
	return nil
}
