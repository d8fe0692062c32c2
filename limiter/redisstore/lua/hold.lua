-- Store.Hold: KEYS[1] is the hold.
return {struct.pack('<d', now), kept(redis.call('GET', KEYS[1]))}
