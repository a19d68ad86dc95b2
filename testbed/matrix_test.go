//go:build linux

package testbed_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/capture"
)

func addFlow(t *testing.T, tb *testbed.Testbed, host string, args ...string) {
	t.Helper()
	sw := tb.Switch(host)
	if _, err := sw.Ofctl(t.Context(), append([]string{args[0], "br-int"}, args[1:]...)...); err != nil {
		t.Fatal(err)
	}
	// Until then the datapath forwards as it did before the change.
	if _, err := sw.Appctl(t.Context(), "revalidator/wait"); err != nil {
		t.Fatal(err)
	}
}

func ping(t *testing.T, tb *testbed.Testbed) (*testbed.Matrix, *capture.Tally) {
	t.Helper()
	var m *testbed.Matrix
	tally, err := tb.Observe(t.Context(), nil, func(ctx context.Context) (err error) {
		m, err = tb.Ping(ctx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m, tally
}

func table(t *testing.T, m *testbed.Matrix) string {
	t.Helper()
	var b bytes.Buffer
	if err := m.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The matrix must be all right on a network that is right, and find every kind
// of wrong.
func TestMatrix(t *testing.T) {
	tb := up(t, load(t, "examples/two-tenants.yaml", "t-matrix"), testbed.Options{})
	handFlows(t, tb)
	m, tally := ping(t, tb)
	if m.Differences != 0 || m.Resent != 0 || len(m.Pairs) != 72 {
		t.Errorf("%d pairs, %d differences, %d requests sent again:\n%s", len(m.Pairs), m.Differences, m.Resent, table(t, m))
	}
	if tally.Flooded() != 0 || tally.Kinds[capture.KindNVGRE] == 0 || tally.Lost != 0 {
		t.Errorf("underlay: %+v", tally)
	}

	tests := []struct {
		name        string
		host        string
		add, remove []string
		want        string // in the table
		flooded     capture.Kind
	}{
		{
			name: "a packet delivered to the other tenant too", host: "h2",
			add:    []string{"add-flow", `table=4,priority=300,ip,reg2=5001,dl_dst=02:00:00:00:01:12 actions=output:"vm-blue-web2",output:"vm-red-web2"`},
			remove: []string{"del-flows", "--strict", `table=4,priority=300,ip,reg2=5001,dl_dst=02:00:00:00:01:12`},
			want:   "blue-web1 reached red-web2, which is another tenant's",
		},
		{
			name: "no hop counted across subnets", host: "h1",
			add:    []string{"add-flow", `table=2,priority=300,ip,reg1=5001,reg2=5002 actions=resubmit(,3)`},
			remove: []string{"del-flows", "--strict", `table=2,priority=300,ip,reg1=5001,reg2=5002`},
			want:   "blue-db1 received the request from blue-web1 with TTL 64, not 63",
		},
		{
			name: "a VM unreachable", host: "h3",
			add:    []string{"add-flow", `table=4,priority=300,reg2=6002,dl_dst=02:00:00:00:02:13 actions=drop`},
			remove: []string{"del-flows", "--strict", `table=4,priority=300,reg2=6002,dl_dst=02:00:00:00:02:13`},
			want:   "nothing from red-web1 reached red-db1",
		},
		{
			name: "no hop counted on the way back", host: "h3",
			add:    []string{"add-flow", `table=2,priority=300,ip,reg1=5002,reg2=5001 actions=resubmit(,3)`},
			remove: []string{"del-flows", "--strict", `table=2,priority=300,ip,reg1=5002,reg2=5001`},
			want:   "blue-web1 received the answer of blue-db1 with TTL 64, not 63",
		},
		{
			name: "a request flooded to all hosts", host: "h1",
			add:     []string{"add-flow", `table=1,priority=300,ip,reg0=1,nw_dst=10.0.1.12 actions=set_field:10.99.0.1->tun_src,set_field:10.99.3.3->tun_dst,set_field:0x138900->tun_id,set_field:02:00:00:00:01:12->eth_dst,output:nvgre0`},
			remove:  []string{"del-flows", "--strict", `table=1,priority=300,ip,reg0=1,nw_dst=10.0.1.12`},
			want:    "nothing from blue-web1 reached blue-web2",
			flooded: capture.KindUnknown,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			addFlow(t, tb, tt.host, tt.add...)
			m, tally := ping(t, tb)
			if s := table(t, m); m.Differences == 0 || !strings.Contains(s, tt.want) {
				t.Errorf("the matrix does not say %q:\n%s", tt.want, s)
			}
			if tt.flooded != "" && tally.Kinds[tt.flooded] == 0 {
				t.Errorf("the underlay shows no %s: %+v", tt.flooded, tally)
			}
			addFlow(t, tb, tt.host, tt.remove...)
		})
	}
}
