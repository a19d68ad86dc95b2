package ovsdb

import (
	"context"
	"maps"
	"slices"
)

// MarkInstalled writes external_ids:nvgre-installed of Interfaces, by their
// names; an empty value removes the key. Only what differs is written, in one
// transaction, and no other key is touched. An Interface that is not, or no
// longer, on the host is left out: its VM has gone.
func (h *Host) MarkInstalled(ctx context.Context, ifaces map[string]string) error {
	if len(ifaces) == 0 {
		return nil
	}
	s, err := h.current()
	if err != nil {
		return err
	}
	_, err = s.transact(ctx, func(db *database) (*transaction, error) {
		byName := make(map[string]*interfaceRow)
		for i := range all[interfaceRow](db) {
			if _, ok := ifaces[i.Name]; ok {
				byName[i.Name] = i
			}
		}
		t := newTransaction(db)
		for _, name := range slices.Sorted(maps.Keys(byName)) {
			i, want := byName[name], ifaces[name]
			switch {
			case i.ExternalIDs[keyInstalled] == want:
			case want == "":
				t.remove(tableInterface, i.UUID, "external_ids", set(keyInstalled))
			default:
				t.setKeys(tableInterface, i.UUID, "external_ids", map[string]string{keyInstalled: want})
			}
		}
		return t, nil
	})
	return h.explain(err)
}
