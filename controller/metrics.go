package controller

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/reconcile"
)

// metrics are what the daemon counts. What is a state rather than an event is
// read from the status when somebody asks; see statusCollector.
type metrics struct {
	flowMods    *prometheus.CounterVec
	refused     prometheus.Counter
	repaired    prometheus.Counter
	drift       *prometheus.CounterVec
	apply       prometheus.Histogram
	readBack    prometheus.Histogram
	compile     prometheus.Histogram
	policyLoads *prometheus.CounterVec
	punts       *prometheus.CounterVec
	// Of flowMods.
	added, changed, deleted, sentinels prometheus.Counter
}

const namespace = "nvgre"

func newMetrics(c *Controller) *metrics {
	seconds := prometheus.ExponentialBuckets(0.0005, 2, 16) // 0.5 ms to 16 s
	m := &metrics{
		flowMods: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "flow_mods_total",
			Help: "Flow-mods that switches have confirmed, by kind: add, change, delete or sentinel."}, []string{"kind"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "flow_mods_refused_total",
			Help: "Flows that a switch refused."}),
		repaired: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "flows_repaired_total",
			Help: "Flows that an audit found changed by somebody else and put right."}),
		drift: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "drift_total",
			Help: "What others did to the switches' flows, by kind: deleted, changed, added, shadowed, or fought (again and again)."}, []string{"kind"}),
		apply: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: "bundle_duration_seconds",
			Help: "Time from the first flow-mod of a change to its confirmation.", Buckets: seconds}),
		readBack: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: "read_back_duration_seconds",
			Help: "Time to read all flows of a switch.", Buckets: seconds}),
		compile: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: "compile_duration_seconds",
			Help: "Time to compile the flows of all hosts that a change concerns.", Buckets: seconds}),
		policyLoads: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "policy_loads_total",
			Help: "Attempts to read the policy file, by result: ok or refused."}, []string{"result"}),
	}
	m.added, m.changed = m.flowMods.WithLabelValues("add"), m.flowMods.WithLabelValues("change")
	m.deleted, m.sentinels = m.flowMods.WithLabelValues("delete"), m.flowMods.WithLabelValues("sentinel")
	m.punts = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "punts_total",
		Help: "Packets of VMs that switches handed to the controller, by reason and by what became of them: answered, or why not."}, []string{"reason", "result"})
	for _, k := range reconcile.DriftKinds {
		m.drift.WithLabelValues(string(k))
	}
	m.policyLoads.WithLabelValues("ok")
	m.policyLoads.WithLabelValues("refused")
	c.registry.MustRegister(m.flowMods, m.refused, m.repaired, m.drift, m.apply, m.readBack, m.compile, m.policyLoads, m.punts,
		&statusCollector{c}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// report counts one exchange with a switch. Drivers call it at the same time.
func (m *metrics) report(r reconcile.Report) {
	m.added.Add(float64(r.Added))
	m.changed.Add(float64(r.Changed))
	m.deleted.Add(float64(r.Deleted))
	m.sentinels.Add(float64(r.Sentinels))
	m.refused.Add(float64(r.Refused))
	m.repaired.Add(float64(r.Repaired))
	for k, n := range r.Drifted {
		m.drift.WithLabelValues(string(k)).Add(float64(n))
	}
	if r.Apply > 0 {
		m.apply.Observe(r.Apply.Seconds())
	}
	if r.ReadBack > 0 {
		m.readBack.Observe(r.ReadBack.Seconds())
	}
}

// statusCollector shows the status as gauges.
type statusCollector struct{ c *Controller }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

var (
	descPolicyRevision = desc("policy_revision", "Revision of the policy in force, in milliseconds since 1970; 0 without one.")
	descPolicyOK       = desc("policy_last_reload_success", "1 when the policy file as it is now is in force.")
	descRecords        = desc("policy_records", "Lookup records of the policy in force.")
	descConnected      = desc("host_connected", "1 while a host's channel (ovsdb or openflow) is connected.", "host", "channel")
	descInSync         = desc("host_in_sync", "1 while the switch has confirmed the wanted revision.", "host")
	descHostFlows      = desc("host_flows", "Flows of a host: wanted, installed (ours), foreign, shadowing (foreign ones over ours), refused, kept.", "host", "state")
	descHostRevision   = desc("host_revision", "Revision of a host: wanted and installed.", "host", "state")
	descAttachments    = desc("attachments", "VM ports of a host: installed, pending, or with a problem.", "host", "state")
	descReady          = desc("ready", "1 when a policy is in force and every reachable host holds it.")
	descTroubles       = desc("troubles", "Things that an operator should see to; see /v1/status.")
)

// Describe implements [prometheus.Collector].
func (s *statusCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descPolicyRevision, descPolicyOK, descRecords, descConnected, descInSync, descHostFlows,
		descHostRevision, descAttachments, descReady, descTroubles} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (s *statusCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	st := s.c.Status()
	gauge(descPolicyRevision, float64(st.Policy.Revision))
	gauge(descPolicyOK, bit(st.Policy.Revision != 0 && st.Policy.Error == ""))
	gauge(descRecords, float64(st.Policy.Records))
	gauge(descReady, bit(st.Ready))
	gauge(descTroubles, float64(len(st.Trouble)))
	count := map[string]map[string]int{}
	for i := range st.Attachments {
		a := &st.Attachments[i]
		state := "pending"
		if a.Problem != "" {
			state = "problem"
		} else if a.Installed {
			state = "installed"
		}
		if count[a.Host] == nil {
			count[a.Host] = map[string]int{}
		}
		count[a.Host][state]++
	}
	for i := range st.Hosts {
		h := &st.Hosts[i]
		gauge(descConnected, bit(h.OVSDB.Connected), h.Name, "ovsdb")
		gauge(descConnected, bit(h.OpenFlow.Connected), h.Name, "openflow")
		gauge(descInSync, bit(h.InSync), h.Name)
		gauge(descHostFlows, float64(h.FlowsWanted), h.Name, "wanted")
		gauge(descHostFlows, float64(h.FlowsInstalled), h.Name, "installed")
		gauge(descHostFlows, float64(h.FlowsForeign), h.Name, "foreign")
		gauge(descHostFlows, float64(h.FlowsShadowing), h.Name, "shadowing")
		gauge(descHostFlows, float64(h.FlowsRefused), h.Name, "refused")
		gauge(descHostFlows, float64(h.FlowsKept), h.Name, "kept")
		gauge(descHostRevision, float64(h.RevisionWanted), h.Name, "wanted")
		gauge(descHostRevision, float64(h.RevisionInstalled), h.Name, "installed")
		for _, state := range []string{"installed", "pending", "problem"} {
			gauge(descAttachments, float64(count[h.Name][state]), h.Name, state)
		}
	}
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
