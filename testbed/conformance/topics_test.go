package conformance

// topics are all rows, in the order of docs/CONFORMANCE.md. Each topic has a file
// of its own.
var topics = []Topic{
	{"Frame format", formatRows},
	{"802.1Q", vlanRows},
	{"Reserved VSIDs", reservedRows},
	{"Spreading and FlowID", flowIDRows},
	{"Broadcast and multicast", multicastRows},
	{"Unicast and isolation", unicastRows},
	{"Fragmentation and MTU", mtuRows},
	{"Address families", familyRows},
	{"Neighbours", neighbourRows},
	{"Router", routerRows},
	{"Customer routes", routeRows},
	{"Addresses for VMs", addressRows},
	{"Lookup records", recordRows},
	{"Provider side", providerRows},
	{"Port security", securityRows},
	{"Bad input", badInputRows},
}
