package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/permitd/permitd/scripts/internal/proc"
)

// fault is something that happens to a Redis.
type fault struct {
	name  string
	begin func(context.Context) error
	end   func(context.Context) error // returns when Redis can be used again

	loses  bool // data
	spares bool // of that, all but what was written last
	drains bool // rates: its clock goes forward
	unseen bool // nobody must notice
	brief  bool // it is ended at once, which takes as long as it does
}

func stopped(r *proc.Redis) fault {
	return fault{
		name:  "stopped",
		begin: func(context.Context) error { return r.Pause() },
		end:   func(context.Context) error { return r.Resume() },
	}
}

func emptied(r *proc.Redis) fault {
	return fault{
		name:  "emptied",
		begin: func(context.Context) error { r.Kill(); return nil },
		end:   r.Run,
		loses: true,
	}
}

// full has no room for anything to be written.
func full(r *proc.Redis) fault {
	const ballast, size = "ballast of scripts/faults", 8 << 20
	return fault{
		name: "full",
		begin: func(ctx context.Context) error {
			if err := r.Admin.SetRange(ctx, ballast, size, ".").Err(); err != nil {
				return err
			}
			memory, err := r.Info(ctx, "memory")
			if err != nil {
				return err
			}
			used, err := strconv.Atoi(memory["used_memory"])
			if err != nil {
				return err
			}
			return r.Admin.ConfigSet(ctx, "maxmemory", strconv.Itoa(used-size/8)).Err() // whatever its clients give back
		},
		end: func(ctx context.Context) error {
			return errors.Join(r.Admin.Del(ctx, ballast).Err(), r.Admin.ConfigSet(ctx, "maxmemory", "0").Err())
		},
	}
}

// flushed has forgotten its scripts.
func flushed(r *proc.Redis) fault {
	return fault{
		name:   "flushed",
		begin:  func(ctx context.Context) error { return r.Admin.ScriptFlush(ctx).Err() },
		end:    func(ctx context.Context) error { return r.Admin.ScriptFlush(ctx).Err() },
		unseen: true,
	}
}

// cut off by what is between permitd and Redis.
func cutOff(p *proxy, name string, c conduct) fault {
	return fault{
		name:  name,
		begin: func(context.Context) error { p.act(c); return nil },
		end:   func(context.Context) error { p.act(passes); return nil },
	}
}

func slow(_ *proc.Redis, p *proxy) fault     { return cutOff(p, "slow", lags) }
func dropped(_ *proc.Redis, p *proxy) fault  { return cutOff(p, "dropped", resets) }
func halfOpen(_ *proc.Redis, p *proxy) fault { return cutOff(p, "half-open", ignores) }

// jump is a clock that is 30 s fast for a while.
func jump(set func(ahead int) error) fault {
	return fault{
		name:   "clock",
		begin:  func(context.Context) error { return set(30) },
		end:    func(context.Context) error { return set(0) },
		drains: true,
		unseen: true,
	}
}

// absent is a Redis that is not run until the fault ends.
func absent(r *proc.Redis) fault {
	return fault{name: "absent", begin: func(context.Context) error { return nil }, end: r.Run}
}

// wrapped says what a fault was, where it could not be made.
func (f *fault) wrapped(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s of the fault %q: %w", what, f.name, err)
	}
	return nil
}
