// Package routeradv makes router advertisements (RFC 4861) of the distributed
// router from the policy: addresses and more come by DHCPv6, the subnet's
// prefixes are on the link, and no VM shall make addresses of its own, since port
// security would drop what it sends from them.
package routeradv
