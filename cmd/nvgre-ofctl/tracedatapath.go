package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/explain"
)

// tracedPacket is a trace as the command shows it.
type tracedPacket struct {
	*explain.Trace
	Flows    string         `json:"flows"` // planned, desired or live
	Datapath []datapathStep `json:"datapath,omitempty"`
}

// datapathStep is what Open vSwitch itself says of one hop.
type datapathStep struct {
	Host       string `json:"host"`
	Actions    string `json:"actions,omitempty"` // of the datapath
	Difference string `json:"difference,omitempty"`
	Unasked    string `json:"unasked,omitempty"` // why the switch was not asked
	Text       string `json:"text,omitempty"`    // its whole answer
}

func (t *tracedPacket) differs() bool {
	for i := range t.Datapath {
		if t.Datapath[i].Difference != "" {
			return true
		}
	}
	return false
}

func (t *tracedPacket) writeText(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "flows     %s\n", t.Flows); err != nil {
		return err
	}
	if err := t.WriteText(w); err != nil {
		return err
	}
	for _, d := range t.Datapath {
		var err error
		switch {
		case d.Unasked != "":
			_, err = fmt.Fprintf(w, "datapath  %s: not asked: %s\n", d.Host, d.Unasked)
		case d.Difference != "":
			_, err = fmt.Fprintf(w, "datapath  %s: differs: %s\n          actions %s\n", d.Host, d.Difference, d.Actions)
		default:
			_, err = fmt.Fprintf(w, "datapath  %s: the same flows; actions %s\n", d.Host, d.Actions)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// askDatapaths asks the switch of each hop to trace the packet as it comes in
// there.
func (n *network) askDatapaths(ctx context.Context, tr *explain.Trace) (all []datapathStep) {
	for i := range tr.Hops {
		h := &tr.Hops[i]
		d := datapathStep{Host: h.Host}
		switch text, err := n.ofprotoTrace(ctx, h); {
		case err != nil:
			d.Unasked = err.Error()
		default:
			d.Text = text
			d.Actions, d.Difference = compareOfproto(h, text)
		}
		all = append(all, d)
	}
	return all
}

var (
	ofprotoStep    = regexp.MustCompile(`(?m)^ *(\d+)\. (?:.*, )?priority (\d+)(?:, cookie (0x[0-9a-f]+))?$`)
	ofprotoBridge  = regexp.MustCompile(`(?m)^bridge\("(.*)"\)$`)
	ofprotoLarger  = regexp.MustCompile(`(?m)^ {4,}\d+\. .*$`)
	ofprotoSmaller = regexp.MustCompile(`(?m)^ ?\d+\. .*$`)
	ofprotoActions = regexp.MustCompile(`(?m)^Datapath actions: (.*)$`)
)

// compareOfproto returns the datapath's actions, and where the switch met other
// flows than the model.
func compareOfproto(h *explain.Hop, text string) (actions, difference string) {
	if m := ofprotoActions.FindStringSubmatch(text); m != nil {
		actions = sideTaken(m[1], behindPunt(h))
	}
	// A tunnel of the userspace datapath goes on through the underlay's bridge,
	// whose flows are not ours to compare.
	if at := ofprotoBridge.FindAllStringIndex(text, 2); len(at) == 2 {
		text = text[:at[1][0]]
	}
	// Behind check_pkt_larger Open vSwitch shows what becomes of a packet that is
	// larger, set in, and then of one that is not.
	if at := strings.Index(text, "check_pkt_larger("); at >= 0 {
		other := ofprotoLarger
		if behindPunt(h) {
			other = ofprotoSmaller
		}
		text = text[:at] + other.ReplaceAllString(text[at:], "")
	}
	found := ofprotoStep.FindAllStringSubmatch(text, -1)
	for i := range max(len(found), len(h.Steps)) {
		theirs, ours := "no further flow", "no further flow"
		if i < len(found) {
			cookie := found[i][3]
			if cookie == "" {
				cookie = "0x0"
			}
			theirs = fmt.Sprintf("table %s priority %s cookie %s", found[i][1], found[i][2], cookie)
		}
		if i < len(h.Steps) {
			ours = fmt.Sprintf("table %d priority %d cookie %s", h.Steps[i].ID, h.Steps[i].Priority, h.Steps[i].Cookie)
		}
		if theirs != ours {
			return actions, fmt.Sprintf("Open vSwitch met %s, the trace %s", theirs, ours)
		}
	}
	if actions == "drop" && len(h.Sent) > 0 {
		difference = "the same flows, but nothing is sent"
		if w := h.Sent[0].Wire; w != nil {
			difference += fmt.Sprintf(": is there a route to %s, and does it answer ARP? (Ask again: the first packet only asks for it.)", w.Dst)
		}
	}
	return actions, difference
}

// behindPunt reports whether a hop's packet ends at the controller.
func behindPunt(h *explain.Hop) bool {
	last := len(h.Steps) - 1
	return last >= 0 && h.Steps[last].Table == "punt"
}

// sideTaken returns datapath actions with the one side of a check_pkt_len that a
// packet takes in the place of both (ovs-actions(7), check_pkt_larger).
func sideTaken(actions string, larger bool) string {
	const check = "check_pkt_len("
	at := strings.Index(actions, check)
	if at < 0 {
		return actions
	}
	inside, rest, ok := cutParenthesis(actions[at+len(check):])
	_, gt, ok1 := strings.Cut(inside, ",gt(")
	gt, le, ok2 := cutParenthesis(gt)
	le, ok3 := strings.CutPrefix(le, ",le(")
	le, _, ok4 := cutParenthesis(le)
	if !ok || !ok1 || !ok2 || !ok3 || !ok4 {
		return actions // another form than that of Open vSwitch 3.1: shown as it is
	}
	if larger {
		le = gt
	}
	return actions[:at] + le + rest
}

// cutParenthesis cuts s at the parenthesis that closes one before s.
func cutParenthesis(s string) (before, after string, ok bool) {
	open := 1
	for i, c := range s {
		switch c {
		case '(':
			open++
		case ')':
			if open--; open == 0 {
				return s[:i], s[i+1:], true
			}
		}
	}
	return "", "", false
}

// ofprotoTrace asks the ovs-vswitchd of a hop's host.
func (n *network) ofprotoTrace(ctx context.Context, h *explain.Hop) (string, error) {
	if h.Unknown != "" {
		return "", errors.New(h.Unknown)
	}
	socket, err := n.controlSocket(h.Host)
	if err != nil {
		return "", err
	}
	spec := fmt.Sprintf("in_port=%d", h.Port)
	if h.Wire != nil {
		six := ""
		if h.Wire.Dst.Is6() {
			six = "ipv6_"
		}
		spec += fmt.Sprintf(",tun_%ssrc=%s,tun_%sdst=%s,tun_id=%d", six, h.Wire.Src, six, h.Wire.Dst, h.Wire.Key)
	}
	return unixctl(ctx, socket, "ofproto/trace", n.settings.Bridge, spec, hex.EncodeToString(h.Input.Frame.Bytes()))
}

// controlSocket finds the control socket of a host's ovs-vswitchd beside its
// other sockets.
func (n *network) controlSocket(host string) (string, error) {
	db := dumpDatabase(n.settings, n.policy, &dumpOptions{}, host)
	path, ok := strings.CutPrefix(db.String(), "unix:")
	if !ok {
		return "", fmt.Errorf("its OVSDB is not reached by unix: run ovs-appctl ofproto/trace %s there", n.settings.Bridge)
	}
	dir := filepath.Dir(path)
	if pid, err := os.ReadFile(filepath.Join(dir, "ovs-vswitchd.pid")); err == nil {
		if s := filepath.Join(dir, "ovs-vswitchd."+strings.TrimSpace(string(pid))+".ctl"); isThere(s) {
			return s, nil
		}
	}
	if s := filepath.Join(dir, "ovs-vswitchd.ctl"); isThere(s) {
		return s, nil
	}
	return "", fmt.Errorf("%s has no control socket of ovs-vswitchd: is it running?", dir)
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// unixctl calls a method by the control socket of a daemon of Open vSwitch, which
// speaks JSON-RPC 1.0 (ovs-appctl(8)).
func unixctl(ctx context.Context, socket, method string, params ...string) (string, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := json.NewEncoder(conn).Encode(map[string]any{"id": 1, "method": method, "params": append([]string{}, params...)}); err != nil {
		return "", err
	}
	var reply struct{ Result, Error *string }
	if err := json.NewDecoder(conn).Decode(&reply); err != nil {
		return "", fmt.Errorf("%s: %w", socket, explainContext(ctx, err))
	}
	switch {
	case reply.Error != nil:
		return "", errors.New(strings.TrimSpace(*reply.Error))
	case reply.Result == nil:
		return "", fmt.Errorf("%s: %s: an empty answer", socket, method)
	}
	return *reply.Result, nil
}
