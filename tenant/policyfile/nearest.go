package policyfile

import (
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/internal/spelling"
)

// nearest returns the field whose key is most like key, if any is like it.
func nearest(key string, fields []field) (field, bool) {
	if len(key) > 40 {
		return field{}, false
	}
	fold := strings.ToLower(strings.ReplaceAll(key, "-", "_"))
	best, least := field{}, 1000
	for _, f := range fields {
		d := spelling.Distance(fold, f.key)
		// The words of the field that are part of a key, or the other way round,
		// as in macaddress, vm_name or pas.
		if d > 1 && len(fold) > 1 && (strings.Contains(fold, f.key) || strings.Contains(f.key, fold)) {
			d = 1
		}
		if d < least {
			best, least = f, d
		}
	}
	return best, least <= max(1, len(best.key)/3)
}
