package main

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

func TestDiffForwarding(t *testing.T) {
	b := serveAPI(t)
	good := file(t, "good.yaml", goodPolicy)
	mustRun(t, 1, []string{"diff", "--forwarding", "-f", good}, "6 gained", "gained: blue web1 (10.0.1.11) -> web2 (10.0.1.12)", "the sender does not exist", "flows on 2 hosts")
	mustRun(t, 0, []string{"apply", "-f", good, "--require-no-loss"}, "10 changes")
	mustRun(t, 0, []string{"diff", "--forwarding", "-f", good}, "no pair of VMs where the policy wants them and no flow changes")

	moved := file(t, "moved.yaml", strings.Replace(goodPolicy, "02:b0:00:00:01:12, host: h2", "02:b0:00:00:01:12, host: h1", 1))
	mustRun(t, 1, []string{"diff", "--forwarding", "-f", moved, "--replace"}, "0 lost, 0 gained, 4 changed (path 4,", "blue/5001", "path: blue web1 (10.0.1.11) -> web2 (10.0.1.12)", "h1: ")
	out := mustRun(t, 1, []string{"diff", "--forwarding", "-f", moved, "-o", "json", "--max", "1"})
	var j jsonImpact
	if err := json.Unmarshal([]byte(out), &j); err != nil || j.VMs.Path != 4 || len(j.Pairs) != 1 || j.Pairs[0].Change != "path" || len(j.Flows) == 0 || !j.Planned || j.From != 4 {
		t.Errorf("%v: %s", err, out)
	}
	// Where VMs are attached counts before where the policy wants them.
	b.SetStatus(admin.Status{Attachments: []admin.Attachment{{Host: "h1", IfaceID: "web1", OFPort: 5}, {Host: "h2", IfaceID: "web2", OFPort: 6}}})
	mustRun(t, 1, []string{"diff", "--forwarding", "-f", moved}, "pairs of VMs where they are attached now: 2 lost, 0 gained, 0 changed", "the sender has no port on host h1")
	mustRun(t, 1, []string{"diff", "--forwarding", "-f", moved, "--planned"}, "where the policy wants them: 0 lost")
	mustRun(t, 2, []string{"diff", "-f", moved, "--planned"}, "--planned is for --forwarding")
	mustRun(t, 2, []string{"diff", "--forwarding", "-f", moved, "--max", "-1"}, "--max is -1")
	mustRun(t, 1, []string{"diff", "--forwarding", "--from", "1", "--to", "4"}, "6 gained")
	mustRun(t, 0, []string{"diff", "--forwarding", "--from", "4", "--to", "4"})
}

func TestRequireNoLoss(t *testing.T) {
	b := serveAPI(t)
	good := file(t, "good.yaml", goodPolicy)
	mustRun(t, 0, []string{"apply", "-f", good})
	less := file(t, "less.yaml", strings.Replace(goodPolicy, "          - {vm: roam, ca: 10.0.1.13, mac: 02:b0:00:00:01:13}\n", "", 1))
	mustRun(t, 1, []string{"apply", "-f", less, "--replace", "--require-no-loss"}, "lost: blue roam (10.0.1.13) -> web1 (10.0.1.11)",
		"after   the destination does not exist", "the change breaks 5 pairs", "nothing was stored", "--allow-loss")
	mustRun(t, 1, []string{"apply", "-f", less, "--replace", "--require-no-loss", "--allow-loss", "web1"}, "the change breaks 3 pairs")
	mustRun(t, 2, []string{"apply", "-f", less, "--replace", "--require-no-loss", "--allow-loss", "web9"}, `no VM is named "web9"`)
	mustRun(t, 2, []string{"apply", "-f", less, "--allow-loss", "roam"}, "--allow-loss is for --require-no-loss")
	if b.Policy().NumRecords() != 4 {
		t.Fatal("something was stored")
	}
	mustRun(t, 1, []string{"apply", "-f", less, "--replace", "--require-no-loss", "--if-revision", "1"}, "in force is 4")
	mustRun(t, 0, []string{"apply", "-f", less, "--replace", "--require-no-loss", "--allow-loss", "blue/roam", "--dry-run"}, "dry run: 1 change")
	mustRun(t, 0, []string{"apply", "-f", less, "--replace", "--require-no-loss", "--allow-loss", "blue/roam"}, "deleted  records/5001/10.0.1.13")
	// What is not sound the controller refuses, as ever.
	clash := file(t, "clash.yaml", strings.NewReplacer("5001", "5002", "6001", "6002", "blue", "green", "name: red", "name: brown").Replace(goodPolicy))
	mustRun(t, 3, []string{"apply", "-f", clash, "--require-no-loss"}, "clash.yaml:", "nothing was stored")
}

func TestRequireNoLossOfDeleteAndRollback(t *testing.T) {
	b := serveAPI(t)
	good := file(t, "good.yaml", goodPolicy)
	less := file(t, "less.yaml", strings.Replace(goodPolicy, "          - {vm: roam, ca: 10.0.1.13, mac: 02:b0:00:00:01:13}\n", "", 1))
	mustRun(t, 0, []string{"apply", "-f", less})
	first := b.Policy().Revision()
	mustRun(t, 0, []string{"apply", "-f", good})
	before := b.Policy().Revision()
	mustRun(t, 1, []string{"delete", "records/5001/10.0.1.13", "--require-no-loss"}, "lost: blue roam (10.0.1.13) -> web1 (10.0.1.11)", "the change breaks 5 pairs", "nothing was stored")
	mustRun(t, 1, []string{"rollback", "--to", strconv.FormatUint(first, 10), "--require-no-loss"}, "the change breaks 5 pairs", "nothing was stored")
	mustRun(t, 2, []string{"delete", "records/5001/10.0.1.13", "--allow-loss", "roam"}, "--allow-loss is for --require-no-loss")
	mustRun(t, 2, []string{"rollback", "--to", "1", "--allow-loss", "roam"}, "--allow-loss is for --require-no-loss")
	mustRun(t, 0, []string{"delete", "records/5001/10.0.1.99", "--require-no-loss"}, "nothing to change")
	if b.Policy().Revision() != before {
		t.Fatal("something was stored")
	}
	mustRun(t, 0, []string{"delete", "records/5001/10.0.1.13", "--require-no-loss", "--allow-loss", "blue/roam"}, "deleted  records/5001/10.0.1.13")
	// What brings VMs back breaks nothing, and is stored.
	mustRun(t, 0, []string{"rollback", "--to", strconv.FormatUint(before, 10), "--require-no-loss"}, "created  records/5001/10.0.1.13")
	mustRun(t, 0, []string{"rollback", "--to", strconv.FormatUint(first, 10), "--require-no-loss", "--allow-loss", "roam"}, "deleted  records/5001/10.0.1.13")
	mustRun(t, 1, []string{"rollback", "--to", "999", "--require-no-loss"}, "there is no such revision yet")
}

// What was judged is what is stored: a change of somebody else in between makes
// the apply fail.
func TestRequireNoLossIsFenced(t *testing.T) {
	b := serveAPI(t)
	good := file(t, "good.yaml", goodPolicy)
	mustRun(t, 0, []string{"apply", "-f", good})
	b.Slow(func(ctx context.Context, _ store.ApplyOptions) error {
		b.Slow(nil)
		_, err := b.Apply(ctx, []tenant.Change{tenant.Put(tenant.GatewayMAC{MAC: tenant.MAC{2, 1, 1, 1, 1, 1}})}, store.ApplyOptions{})
		return err
	})
	moved := file(t, "moved.yaml", strings.Replace(goodPolicy, "02:b0:00:00:01:12, host: h2", "02:b0:00:00:01:12, host: h1", 1))
	mustRun(t, 1, []string{"apply", "-f", moved, "--require-no-loss"}, "the policy has changed since the change was judged", "in force is 7")
	if r, _ := b.Policy().RecordByIfaceID("web2"); r.Host != "h2" {
		t.Error("the change was stored")
	}
	mustRun(t, 0, []string{"apply", "-f", moved, "--require-no-loss"}, "changed  records/5001/10.0.1.12")
}
