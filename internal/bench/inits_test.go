//go:build e2e

package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/roll-deploy/roll/internal/lab"
)

// inits are the first processes that are compared. Each starts a container of its
// own, and takes a command after its arguments also when it is not the first.
const inits = `
x-init: &init
  image: roll-lab/servers
  command: ["sleep", "infinity"]
  stop_grace_period: 1s
services:
  roll-init: {<<: *init, entrypoint: ["/roll-init", "-s", "--"]}
  tini: {<<: *init, entrypoint: ["/usr/bin/tini", "-s", "--"]}
  dumb-init: {<<: *init, entrypoint: ["/usr/bin/dumb-init", "--"]}
  catatonit: {<<: *init, entrypoint: ["/usr/bin/catatonit", "--"]}
`

// initScript prints the size of the program in bytes, what of it is resident as
// first process in kB, and by how many nanoseconds a run of /bin/true behind it
// takes longer than one alone: each at its best of 20 times 20 runs, in turns,
// because a busy machine only ever adds.
const initScript = `
lap() {
	from=$(date +%s%N); i=0
	while [ $i -lt 20 ]; do "$@"; i=$((i + 1)); done
	lap=$(($(date +%s%N) - from))
}
alone= behind= round=0
while [ $round -lt 20 ]; do
	lap /bin/true; if [ -z "$alone" ] || [ $lap -lt $alone ]; then alone=$lap; fi
	lap "$@" /bin/true; if [ -z "$behind" ] || [ $lap -lt $behind ]; then behind=$lap; fi
	round=$((round + 1))
done
stat -L -c %s "$1"
busybox awk '/^VmRSS/ {print $2}' /proc/1/status
echo $(((behind - alone) / 20))
`

// BenchmarkInits prints what the first process of a container costs: roll-init
// beside three others, in one run. It measures once, whatever -benchtime says.
func BenchmarkInits(b *testing.B) {
	l := lab.New(b)
	if _, err := l.Servers(b.Context()); err != nil {
		b.Fatal(err)
	}
	p := l.Project(b, lab.Source{Compose: inits, NoTraefik: true})
	if err := p.Up(b.Context()); err != nil {
		b.Fatal(err)
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%-10s %9s %13s %19s\n", "", "size, MB", "resident, MB", "start and end, ms")
	for _, one := range [][]string{
		{"roll-init", "/roll-init", "-s", "--"},
		{"tini", "/usr/bin/tini", "-s", "--"},
		{"dumb-init", "/usr/bin/dumb-init", "--"},
		{"catatonit", "/usr/bin/catatonit", "--"},
	} {
		name, command := one[0], one[1:]
		out, err := p.Compose(b.Context(), append([]string{"exec", "-T", name, "sh", "-c", initScript, "sh"}, command...)...)
		if err != nil {
			b.Fatal(err)
		}
		var size, resident, took float64
		if _, err := fmt.Sscan(out, &size, &resident, &took); err != nil {
			b.Fatalf("read %q: %v", out, err)
		}
		took /= float64(time.Millisecond)
		fmt.Fprintf(&table, "%-10s %9.2f %13.2f %19.2f\n", name, size/1e6, resident*1024/1e6, took)
		b.ReportMetric(size, name+"-B")
		b.ReportMetric(resident*1024, name+"-resident-B")
		b.ReportMetric(took, name+"-ms")
	}
	b.ReportMetric(0, "ns/op")
	fmt.Printf("\nFirst processes. Bars for roll-init: 3 MB, 5 MB resident. tini and dumb-init also load the C library.\n\n%s", &table)
}
