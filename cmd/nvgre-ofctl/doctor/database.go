package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
)

// The labels that the controller leaves in a host's database.
const (
	keyLabel = "nvgre-ofctl"
	keyEncap = "nvgre-encap-ip"
)

// database reads the host's Open_vSwitch database (ovs-vsctl(8)).
func (e *Examiner) database(ctx context.Context, f *Facts) error {
	root, err := e.rows(ctx, "Open_vSwitch", "external_ids")
	if err != nil {
		return err
	}
	for _, r := range root {
		ids := r.pairs("external_ids")
		f.Encap = ids[keyEncap]
		for _, key := range []string{"system-id", "hostname"} {
			if ids[key] != "" {
				f.Names = append(f.Names, ids[key])
			}
		}
	}
	bridges, err := e.rows(ctx, "Bridge", "name", "fail_mode", "datapath_type", "external_ids", "controller", "ports")
	if err != nil {
		return err
	}
	controllers, err := e.rows(ctx, "Controller", "_uuid", "target")
	if err != nil {
		return err
	}
	ports, err := e.rows(ctx, "Port", "_uuid", "name", "tag", "interfaces")
	if err != nil {
		return err
	}
	interfaces, err := e.rows(ctx, "Interface", "_uuid", "name", "type", "error", "ofport", "external_ids")
	if err != nil {
		return err
	}
	for _, r := range bridges {
		b := Bridge{Name: r.text("name"), FailMode: r.text("fail_mode"), Datapath: r.text("datapath_type"), Ours: r.pairs("external_ids")[keyLabel] != ""}
		for _, c := range controllers {
			if slices.Contains(r.list("controller"), c.text("_uuid")) {
				b.Targets = append(b.Targets, c.text("target"))
			}
		}
		for _, p := range ports {
			if !slices.Contains(r.list("ports"), p.text("_uuid")) {
				continue
			}
			port := Port{Name: p.text("name"), Bridge: b.Name, Tag: p.number("tag")}
			for _, i := range interfaces {
				if slices.Contains(p.list("interfaces"), i.text("_uuid")) {
					port.Links = append(port.Links, i.text("name"))
				}
			}
			f.Ports = append(f.Ports, port)
		}
		f.Bridges = append(f.Bridges, b)
	}
	for _, i := range interfaces {
		if i.text("type") == "gre" {
			f.Tunnels = append(f.Tunnels, Tunnel{i.text("name"), i.text("error"), i.number("ofport"), i.pairs("external_ids")[keyLabel] != ""})
		}
	}
	return nil
}

// row is a row of a table, by column, in the notation of RFC 7047 section 5.1.
type row map[string]json.RawMessage

func (e *Examiner) rows(ctx context.Context, table string, columns ...string) ([]row, error) {
	list := ""
	for i, c := range columns {
		if i > 0 {
			list += ","
		}
		list += c
	}
	out, err := e.Run(ctx, "ovs-vsctl", "--timeout=5", "--format=json", "--columns="+list, "list", table)
	if err != nil {
		return nil, err
	}
	var t struct {
		Headings []string
		Data     [][]json.RawMessage
	}
	if err := json.Unmarshal(out, &t); err != nil {
		return nil, fmt.Errorf("reading what ovs-vsctl says of table %s: %w", table, err)
	}
	var rows []row
	for _, d := range t.Data {
		r := make(row)
		for i, h := range t.Headings {
			if i < len(d) {
				r[h] = d[i]
			}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// list returns the atoms of a column as texts: a set, or one atom.
func (r row) list(column string) []string {
	var set []json.RawMessage
	var tag string
	raw := r[column]
	if json.Unmarshal(raw, &set) == nil && len(set) == 2 && json.Unmarshal(set[0], &tag) == nil {
		switch tag {
		case "uuid":
			var id string
			if json.Unmarshal(set[1], &id) == nil {
				return []string{id}
			}
		case "set":
			var atoms []json.RawMessage
			var all []string
			if json.Unmarshal(set[1], &atoms) == nil {
				for _, a := range atoms {
					all = append(all, row{"": a}.list("")...)
				}
			}
			return all
		}
		return nil
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return []string{s}
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return []string{n.String()}
	}
	return nil
}

func (r row) text(column string) string {
	if all := r.list(column); len(all) == 1 {
		return all[0]
	}
	return ""
}

func (r row) number(column string) int {
	n, err := json.Number(r.text(column)).Int64()
	if err != nil {
		return 0
	}
	return int(n)
}

func (r row) pairs(column string) map[string]string {
	var m []json.RawMessage
	var pairs [][2]string
	if json.Unmarshal(r[column], &m) != nil || len(m) != 2 || json.Unmarshal(m[1], &pairs) != nil {
		return nil
	}
	all := make(map[string]string)
	for _, p := range pairs {
		all[p[0]] = p[1]
	}
	return all
}
