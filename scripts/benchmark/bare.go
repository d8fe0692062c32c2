package main

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"
)

// The JSON of an ask and a decision, as an application with Echo would have it.
type (
	bareAsk struct {
		Provider string           `json:"provider"`
		Key      string           `json:"key"`
		Model    string           `json:"model"`
		Cost     map[string]int64 `json:"cost"`
		DryRun   bool             `json:"dry_run"`
	}
	bareLimit struct {
		Name       string `json:"name"`
		Scope      string `json:"scope"`
		Kind       string `json:"kind"`
		Unit       string `json:"unit"`
		Amount     int64  `json:"amount"`
		Cost       int64  `json:"cost"`
		Remaining  int64  `json:"remaining"`
		Reset      int64  `json:"reset_ms"`
		RetryAfter int64  `json:"retry_after_ms"`
		Mode       string `json:"mode"`
		WouldDeny  bool   `json:"would_deny"`
	}
	bareDecision struct {
		Allowed      bool        `json:"allowed"`
		Provider     string      `json:"provider"`
		KeyID        string      `json:"key_id"`
		Pool         *string     `json:"pool"`
		Revision     int64       `json:"revision"`
		Degraded     bool        `json:"degraded"`
		Limits       []bareLimit `json:"limits"`
		IgnoredUnits []string    `json:"ignored_units"`
	}
)

// bareEcho reads an ask and answers a decision that it did not make. before is done in between; nil is nothing.
func bareEcho(before call) http.Handler {
	limit := func(name, scope string) bareLimit {
		return bareLimit{Name: name, Scope: scope, Kind: "rate", Unit: "requests", Amount: 1e6, Cost: 1, Remaining: 999_999_912_345, Reset: 5259, Mode: "enforce"}
	}
	answer := bareDecision{
		Allowed: true, KeyID: "k_0123456789abcdef0123456789abcdef", Revision: 1,
		Limits:       []bareLimit{limit("key-rpm", "key"), limit("rpm", "provider")},
		IgnoredUnits: []string{"input_tokens", "output_tokens"},
	}
	e := echo.New()
	e.POST(permitsPath, func(c echo.Context) error {
		var ask bareAsk
		if err := c.Bind(&ask); err != nil {
			return err
		}
		if before != nil {
			if err := before(c.Request().Context()); err != nil {
				return err
			}
		}
		d := answer
		d.Provider = ask.Provider
		return c.JSON(http.StatusOK, &d)
	})
	return e
}

// bareScriptEcho is a bareEcho that makes one round trip to Redis.
func (b *bed) bareScriptEcho(ctx context.Context) (http.Handler, error) {
	script, err := b.bareScript(ctx)
	return bareEcho(script), err
}
