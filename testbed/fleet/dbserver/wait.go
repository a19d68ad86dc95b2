package dbserver

import "encoding/json"

// wait compares rows with those that are waited for. It does not wait: nothing
// can change while a transaction runs.
func (tx *Tx) wait(t *table, rows []*row, op *operation, name names) (any, *txError) {
	cols, err := t.pick(op.Columns)
	if err != nil {
		return nil, err
	}
	key := func(r *row) string {
		b, _ := json.Marshal(cols.json(r)) // of atoms, sorted by the encoder
		return string(b)
	}
	have, want := make(map[string]bool), make(map[string]bool)
	for _, r := range rows {
		have[key(r)] = true
	}
	for _, v := range op.Rows {
		r := &row{}
		if u, there := v["_uuid"]; there {
			d, err := uuidColumn.parse(u, name)
			if err != nil {
				return nil, err
			}
			r.uuid = d.keys[0].(UUID)
			v = cloneWithout(v, "_uuid")
		}
		if r, err = t.fill(r, v, name, false); err != nil {
			return nil, err
		}
		want[key(r)] = true
	}
	equal := len(have) == len(want)
	for k := range have {
		equal = equal && want[k]
	}
	if op.Until != "==" && op.Until != "!=" {
		return nil, syntax("until %q: want == or !=", op.Until)
	}
	if equal != (op.Until == "==") {
		return nil, &txError{"timed out", `"wait" timed out`}
	}
	return struct{}{}, nil
}

func cloneWithout(m map[string]any, k string) map[string]any {
	out := make(map[string]any, len(m))
	for key, v := range m {
		if key != k {
			out[key] = v
		}
	}
	return out
}
