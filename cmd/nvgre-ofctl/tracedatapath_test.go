package main

import "testing"

func TestSideTaken(t *testing.T) {
	const both = "1,check_pkt_len(size=1472,gt(sample(sample=100.0%,actions(meter(1)))),le(tnl_push(header(size=42),out_port(3)),2)),4"
	for _, c := range []struct {
		actions, want string
		larger        bool
	}{
		{"drop", "drop", false},
		{both, "1,tnl_push(header(size=42),out_port(3)),2,4", false},
		{both, "1,sample(sample=100.0%,actions(meter(1))),4", true},
		{"check_pkt_len(size=1472,gt(5),le(drop))", "drop", false},
		{"check_pkt_len(size=1472,gt(5),le(", "check_pkt_len(size=1472,gt(5),le(", false},
		{"check_pkt_len(size=1472,le(5),gt(6))", "check_pkt_len(size=1472,le(5),gt(6))", false},
	} {
		if got := sideTaken(c.actions, c.larger); got != c.want {
			t.Errorf("%s, larger %v: %s, want %s", c.actions, c.larger, got, c.want)
		}
	}
}
