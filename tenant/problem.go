package tenant

// Problem is one reason why a [Spec], or a list of changes, makes no [Policy].
type Problem struct {
	// Path names the field in the words of the policy file, for instance
	// routing_domains[0].subnets[1].records[3].ca; of changes, by the key of the
	// object, for instance records/5001/10.0.1.11/ca (see [SplitPath]).
	Path string
	// Message says what is wrong and what would be right.
	Message string
	// Related holds the paths of the other fields that take part, for instance
	// of the record that claimed the same address first.
	Related []string
}

// String returns path, message and related paths in one line.
func (p Problem) String() string {
	s := p.Path + ": " + p.Message
	for i, r := range p.Related {
		if i == 0 {
			s += " (see " + r
		} else {
			s += ", " + r
		}
	}
	if len(p.Related) > 0 {
		s += ")"
	}
	return s
}

// FieldSet is a set of fields of one object of a [Spec].
type FieldSet uint64

// The fields of the objects of a [Spec], by their names in the policy file.
const (
	FieldVersion FieldSet = 1 << iota
	FieldGatewayMAC
	FieldHosts
	FieldRoutingDomains
	FieldName
	FieldProviderAddresses
	FieldOVSDB
	FieldOpenFlow
	FieldRDID
	FieldCustomer
	FieldSubnets
	FieldRoutes
	FieldVSID
	FieldPrefixes
	FieldGateways
	FieldRecords
	FieldVM
	FieldCA
	FieldMAC
	FieldIfaceID
	FieldHost
	FieldPA
	FieldPrefix
	FieldNextHop
	FieldMetric
	FieldMTU
	FieldWeight
	FieldUplink
	FieldVLAN
	FieldMulticast
	FieldMode
	FieldGroup
	FieldGroups
	FieldRate
	FieldSnooping
	FieldDHCP
	FieldDNS
	FieldDomain
	FieldLease
	FieldType
	FieldRule
	FieldForwarding
	FieldVLANs
	FieldUseVMMAC
	FieldNatPA
	FieldContext
	FieldAllow
	FieldBlackHole

	// AllFields is every field of an object.
	AllFields FieldSet = 1<<64 - 1
)

// Has reports whether s has any field of f.
func (s FieldSet) Has(f FieldSet) bool { return s&f != 0 }
