package hnv

import "github.com/nvgre-ofctl/nvgre-ofctl/tenant"

// ImportBounded is Import with a bound on the work.
func ImportBounded(name string, data []byte, steps int) (*tenant.Policy, []Note, error) {
	return Import(name, data, Options{steps: steps})
}
