package main

// howClients is printed below the flags of replay and run.
const howClients = `At its time it asks permitd for a permit, and when it has one calls a mock
provider, which runs in this process and enforces a limit of its own. Refused by either, it waits as long as it was told
and a random time more (at most 20 ms, doubling with each refusal to 1 s), and asks again, until it is admitted or out of
patience. An ask that permitd does not answer, or answers 503, is made again at the next address; so is one for which a load
balancer has no answer (502, 504).

With other strategies the same clients ask somebody else. The replicas of split have each their part of rate and burst, and
a client waits in its replica's line. With redis_rate clients wait as permitd's do; it asks the account's limit first, and
when the provider's limit then denies, only that one again.

The mock provider speaks OpenAI's Chat Completions (see loadtest mock --help) and counts the tokens of prompt and answer when
a call arrives. With --account-capacity it also limits each account there: a call is charged to both limits or to none. The
built-in policy then has two limits as well, account-tokens of scope pool beside tokens; with --accounts its key entries say
which keys are of one pool.

"used" in the report is the share of the provider's capacity that was used while at least one client waited: tokens
admitted during stretches in which somebody waits (from its first refusal until it is admitted or gives up, but not while
only limits of its account keep it), less the cost of the request that began each stretch, divided by capacity times the
length of the stretches. Several providers each have stretches of their own; used is then the sum of what was used of each,
divided by the sum of what each could have given in its stretches. "attainable" is what the built-in policy lets through:
all for a bucket; (1 - burst/amount) * per/(per + slack) for a window.

Nobody knows before a call how much it will generate. So with --reserve an ask is a hold for an estimate: its cost as if
that many tokens had been generated. Once admitted, the call takes --call-base and --call-token for each token that is
really generated, and then is settled to the usage that the answer ends with; one that the provider refused is cancelled. The
provider charges the actual tokens when the call arrives, so a reservation takes room from permitd only. Have --burst be at
least what drains in twice the longest call, which is printed. Permitd refunds what has not drained, first in, first
out: under load a reservation begins to drain burst/rate after its grant, so with less burst long calls end when part of
their refund is gone; and while calls run, their unused estimates take room in the burst that others can't use. What calls
take beyond their estimate permitd learns a call later than the provider: --mock-burst has to exceed --burst by that much.
--no-settle shows what the same estimates cost when they stay charged.

Latencies count from the moment at which something was meant to happen, so that stalls count. "permit sent to call
answered" bounds how long after its permit a call reaches the provider: slack has to cover its spread.

Exit codes: 0; 1 when an assertion is broken, an answer was neither yes nor 429, or a permit could not be settled; 2 for a
fault of the command line.`
