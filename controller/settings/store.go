package settings

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Store says where tenant policy lives, where no policy file is given.
type Store struct {
	Directory string   // of the embedded etcd; absolute
	Endpoints []string // client URLs of an etcd outside; empty: embedded
	TLS       TLS      // for Endpoints
	Username  string   // for Endpoints; "": etcd wants none
	Password  string   // file that has the password
	Prefix    string   // of all keys; ends in a slash
	Retention time.Duration
	TxnOps    int // 0: the store's own
	Cluster   Cluster
}

// Cluster makes the embedded etcd a member of a cluster of controllers.
type Cluster struct {
	Peers  string // all members, as name=URL, comma-separated; "": this one alone
	Listen string // URL for the other members; "": that of Peers
	Client string // URL for clients such as etcdctl; "": none
	Join   bool   // the cluster is there already
	// Election is how long a member waits to hear of a leader before it stands
	// for election; the leader is heard of ten times as often.
	Election time.Duration
	TLS      TLS // between the members
}

// API says where the API is served besides its socket.
type API struct {
	Group  string // of users that may open the socket; "": none
	Listen string // IP:PORT or :PORT; "": nowhere
	TLS    TLS
}

func storeKeys() []Key {
	return []Key{
		{"name", "name", "",
			"The controller's name among others of one store; it should outlive a restart. Without it, the machine's host name.",
			func(s *Settings, v, _ string) error {
				if v == "" {
					v, _ = os.Hostname() // "controller" where there is none
					v = cmp.Or(v, "controller")
				}
				if strings.ContainsAny(v, "/,= \t\n") || len(v) > 128 {
					return want(v, "at most 128 characters without spaces, '/', ',' and '='")
				}
				s.Name = v
				return nil
			}},
		{"lease", "duration, 1s to 1m", "1s",
			"How long a controller that is not heard of keeps its hosts, in whole seconds. etcd grants no less than one and a half times its election timeout, which is 2s where an etcd outside has its own defaults.",
			func(s *Settings, v, dir string) error {
				err := duration(func(s *Settings) *time.Duration { return &s.Lease }, time.Second, time.Minute)(s, v, dir)
				if err == nil && s.Lease%time.Second != 0 {
					return want(v, "whole seconds, such as 2s")
				}
				return err
			}},
		{"store.directory", "path", "/var/lib/nvgre-ofctl",
			"The data directory of the etcd inside the controller, where policy lives when no policy file and no store.endpoints are set.",
			path(func(s *Settings) *string { return &s.Store.Directory })},
		{"store.endpoints", "URLs, separated by commas", "",
			"The client URLs of an etcd cluster outside the controller, such as https://192.0.2.1:2379. Controllers with the same endpoints and prefix share the hosts out among them.",
			func(s *Settings, v, _ string) error {
				s.Store.Endpoints = nil
				for u := range strings.SplitSeq(v, ",") {
					if u = strings.TrimSpace(u); u == "" {
						continue
					}
					if err := checkURL(u, "http", "https", "unix", "unixs"); err != nil {
						return err
					}
					s.Store.Endpoints = append(s.Store.Endpoints, u)
				}
				return nil
			}},
		{"store.username", "name", "",
			"The user of etcd that the controller logs in as, where etcd at store.endpoints has users. It needs to read and write below store.prefix; only with the role root can status tell which member leads.",
			func(s *Settings, v, _ string) error { s.Store.Username = v; return nil }},
		{"store.password-file", "path", "",
			"The file with the password of store.username, in one line. Only the controller's user should be able to read it.",
			path(func(s *Settings) *string { return &s.Store.Password })},
		{"store.prefix", "text", "/nvgre-ofctl/v1/",
			"What all keys in etcd begin with.",
			func(s *Settings, v, _ string) error {
				if v == "" || v == "/" {
					return want(v, "a prefix such as /nvgre-ofctl/v1/")
				}
				s.Store.Prefix = strings.TrimSuffix(v, "/") + "/"
				return nil
			}},
		{"store.retention", "duration, 1m to 8760h", "24h",
			"How long past revisions are kept, for get --revision, history, diff and rollback.",
			duration(func(s *Settings) *time.Duration { return &s.Store.Retention }, time.Minute, 8760*time.Hour)},
		{"store.transaction-size", "number, 0 to 100000", "0",
			"How many objects one transaction of etcd takes; larger applies are staged. 0: 100 for store.endpoints, where etcd itself takes 128 unless it was started with --max-txn-ops, and 4000 for the etcd inside.",
			func(s *Settings, v, _ string) error {
				n, err := strconv.Atoi(v)
				if err != nil || n < 0 || n > 100_000 {
					return want(v, "a number from 0 to 100000, in quotes")
				}
				s.Store.TxnOps = n
				return nil
			}},
		{"store.tls.ca", "path", "",
			"The certificate of the authority that signed etcd's certificates (PEM), for https endpoints.",
			path(func(s *Settings) *string { return &s.Store.TLS.CA })},
		{"store.tls.certificate", "path", "",
			"The controller's certificate for etcd (PEM), where etcd wants one.",
			path(func(s *Settings) *string { return &s.Store.TLS.Certificate })},
		{"store.tls.private-key", "path", "",
			"The private key of that certificate (PEM).",
			path(func(s *Settings) *string { return &s.Store.TLS.PrivateKey })},
		{"store.cluster.peers", "name=URL, separated by commas", "",
			"All members of a cluster of controllers, this one by its name among them, such as c1=https://192.0.2.1:2380,c2=https://192.0.2.2:2380,c3=https://192.0.2.3:2380: their embedded etcds become one.",
			func(s *Settings, v, _ string) error {
				for p := range strings.SplitSeq(v, ",") {
					if v == "" {
						break
					}
					name, u, ok := strings.Cut(p, "=")
					if !ok || name == "" {
						return want(p, "NAME=URL")
					}
					if err := checkURL(u, "http", "https"); err != nil {
						return err
					}
				}
				s.Store.Cluster.Peers = v
				return nil
			}},
		{"store.cluster.listen", "URL", "",
			"Where this member listens for the others, if not at its URL in store.cluster.peers, such as https://0.0.0.0:2380.",
			optionalURL(func(s *Settings) *string { return &s.Store.Cluster.Listen }, "http", "https")},
		{"store.cluster.client", "URL", "",
			"Where the embedded etcd listens for clients such as etcdctl, such as unix:///run/nvgre-ofctl/etcd.sock; it has no access control.",
			optionalURL(func(s *Settings) *string { return &s.Store.Cluster.Client }, "http", "unix")},
		{"store.cluster.join", "true or false", "false",
			"Whether this member was added to a cluster that is there already (etcdctl member add).",
			boolean(func(s *Settings) *bool { return &s.Store.Cluster.Join })},
		{"store.cluster.election", "duration, 50ms to 50s", "150ms",
			"How long the members wait to hear of etcd's leader before they elect another, ten times the leader's heartbeat. " +
				"More where they are far apart, at least ten round trips, or their machines busy; less makes the hosts of a controller that was the leader move sooner.",
			duration(func(s *Settings) *time.Duration { return &s.Store.Cluster.Election }, 50*time.Millisecond, 50*time.Second)},
		{"store.cluster.tls.ca", "path", "",
			"The certificate of the authority that signed the members' certificates (PEM), for https peers. It goes with the two below.",
			path(func(s *Settings) *string { return &s.Store.Cluster.TLS.CA })},
		{"store.cluster.tls.certificate", "path", "",
			"This member's certificate (PEM), with its address as a subject alternative name.",
			path(func(s *Settings) *string { return &s.Store.Cluster.TLS.Certificate })},
		{"store.cluster.tls.private-key", "path", "",
			"The private key of that certificate (PEM).",
			path(func(s *Settings) *string { return &s.Store.Cluster.TLS.PrivateKey })},
		{"api-socket", "path", "",
			"The unix socket of the REST interface; without it, api.sock beside the admin socket. Only the controller's user may open it, and the members of api.group.",
			func(s *Settings, v, dir string) error {
				if v == "" {
					v = filepath.Join(filepath.Dir(s.AdminSocket), "api.sock") // the admin socket is read before
				}
				return path(func(s *Settings) *string { return &s.APISocket })(s, v, dir)
			}},
		{"api.group", "name", "",
			"The group whose members may use the REST interface by its socket, which is to change the policy.",
			func(s *Settings, v, _ string) error { s.API.Group = v; return nil }},
		{"api.listen", "IP:PORT", "",
			"Where the REST interface is served over TLS as well, to clients with a certificate of api.tls.ca.",
			func(s *Settings, v, _ string) error {
				if v != "" {
					if _, port, err := net.SplitHostPort(v); err != nil || port == "" {
						return want(v, "IP:PORT or :PORT")
					}
				}
				s.API.Listen = v
				return nil
			}},
		{"api.tls.ca", "path", "",
			"The certificate of the authority that signed the clients' certificates (PEM). Needed for api.listen, as are the two below.",
			path(func(s *Settings) *string { return &s.API.TLS.CA })},
		{"api.tls.certificate", "path", "",
			"The certificate that the REST interface shows (PEM).",
			path(func(s *Settings) *string { return &s.API.TLS.Certificate })},
		{"api.tls.private-key", "path", "",
			"The private key of that certificate (PEM).",
			path(func(s *Settings) *string { return &s.API.TLS.PrivateKey })},
	}
}

func boolean(at func(*Settings) *bool) func(*Settings, string, string) error {
	return func(s *Settings, v, _ string) error {
		if v != "true" && v != "false" {
			return want(v, "true or false")
		}
		*at(s) = v == "true"
		return nil
	}
}

func optionalURL(at func(*Settings) *string, schemes ...string) func(*Settings, string, string) error {
	return func(s *Settings, v, _ string) error {
		if v != "" {
			if err := checkURL(v, schemes...); err != nil {
				return err
			}
		}
		*at(s) = v
		return nil
	}
}

func checkURL(text string, schemes ...string) error {
	u, err := url.Parse(text)
	if err == nil {
		for _, s := range schemes {
			if u.Scheme == s && (u.Host != "" || u.Path != "" && strings.HasPrefix(s, "unix")) {
				return nil
			}
		}
	}
	return want(text, fmt.Sprintf("a URL that begins with %s://", strings.Join(schemes, ":// or ")))
}

// check checks what concerns several settings of the store and the API.
func (s *Settings) checkStore() error {
	var errs []error
	complete := func(t TLS, what string) {
		if !t.IsZero() && (t.CA == "" || t.Certificate == "" || t.PrivateKey == "") {
			errs = append(errs, fmt.Errorf("%s.tls is incomplete: want ca, certificate and private-key", what))
		}
	}
	complete(s.Store.Cluster.TLS, "store.cluster")
	complete(s.API.TLS, "api")
	if t := s.Store.TLS; (t.Certificate == "") != (t.PrivateKey == "") {
		errs = append(errs, errors.New("store.tls is incomplete: want both certificate and private-key, or neither"))
	}
	if (s.Store.Username == "") != (s.Store.Password == "") {
		errs = append(errs, errors.New("store.username is incomplete: want both store.username and store.password-file, or neither"))
	}
	if s.Store.Username != "" && len(s.Store.Endpoints) == 0 {
		errs = append(errs, errors.New("store.username is set and store.endpoints is not: the etcd inside the controller has no users"))
	}
	if s.API.Listen != "" && s.API.TLS.IsZero() {
		errs = append(errs, errors.New("api.listen is set and api.tls is not: want ca, certificate and private-key, since whoever reaches the REST interface may change the policy"))
	}
	if s.Store.Cluster.Peers != "" {
		mine := false
		for p := range strings.SplitSeq(s.Store.Cluster.Peers, ",") {
			name, _, _ := strings.Cut(p, "=")
			mine = mine || name == s.Name
		}
		if !mine {
			errs = append(errs, fmt.Errorf("store.cluster.peers does not name %s, which is this controller's name: add it, or set name", s.Name))
		}
		if len(s.Store.Endpoints) > 0 {
			errs = append(errs, errors.New("store.endpoints and store.cluster.peers are both set: want an etcd outside or inside, not both"))
		}
	}
	if s.Policy != "" && (len(s.Store.Endpoints) > 0 || s.Store.Cluster.Peers != "") {
		errs = append(errs, errors.New("policy and a store are both set: want the policy from a file or from the store, not both"))
	}
	return errors.Join(errs...)
}

// Advertised returns the URL of the member of that name.
func (c *Cluster) Advertised(name string) string {
	for p := range strings.SplitSeq(c.Peers, ",") {
		if n, u, ok := strings.Cut(p, "="); ok && n == name {
			return u
		}
	}
	return ""
}
