package fleet

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// CommandHelp describes what [Fleet.Command] understands.
const CommandHelp = `drop HOST             drop its connections
refuse HOST           drop its connections and take no new ones
accept HOST           take connections again
restart HOST [keep]   restart its switch: without flows, or with them
stall HOST            read and answer nothing, as a process that is stopped
slow HOST DURATION    wait so long before each OpenFlow message and each OVSDB request
good HOST             no longer stall or be slow
attach VM...          plug VMs in, each on its host: vm0, vm1, ...
detach VM...          pull VMs out
HOST is h1, h2, ... or all`

var errCommand = errors.New("not understood: say help")

// Command does what a line of text says, and returns what there is to tell. It
// is for a person who watches; programs have methods.
func (f *Fleet) Command(line string) (string, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return "", nil
	}
	args := words[1:]
	switch words[0] {
	case "help":
		return CommandHelp, nil
	case "attach", "detach":
		return "", f.plug(words[0] == "attach", args)
	case "drop", "refuse", "accept", "restart", "stall", "slow", "good":
		if len(args) == 0 {
			return "", errCommand
		}
		hosts, err := f.named(args[0])
		if err != nil {
			return "", err
		}
		var errs []error
		for _, h := range hosts {
			errs = append(errs, h.command(words[0], args[1:]))
		}
		return "", errors.Join(errs...)
	}
	return "", errCommand
}

// named returns the host of a name, or all.
func (f *Fleet) named(name string) ([]*Host, error) {
	if name == "all" {
		return f.hosts, nil
	}
	n, err := strconv.Atoi(strings.TrimPrefix(name, "h"))
	if err != nil || n < 1 || n > len(f.hosts) || HostName(n-1) != name {
		return nil, fmt.Errorf("%q is no host: want h1 to %s, or all", name, HostName(len(f.hosts)-1))
	}
	return f.hosts[n-1 : n], nil
}

func (h *Host) command(what string, args []string) error {
	faults := Faults{}
	switch {
	case what == "drop" && len(args) == 0:
		h.Disconnect()
		return nil
	case what == "refuse" && len(args) == 0:
		h.Refuse()
		h.Disconnect()
		return nil
	case what == "accept" && len(args) == 0:
		return h.Accept()
	case what == "restart" && len(args) == 0:
		h.Restart(false)
		return nil
	case what == "restart" && len(args) == 1 && args[0] == "keep":
		h.Restart(true)
		return nil
	case what == "stall" && len(args) == 0:
		faults.OpenFlow.Stalled, faults.Database.Stalled = true, true
	case what == "slow" && len(args) == 1:
		d, err := time.ParseDuration(args[0])
		if err != nil || d < 0 {
			return fmt.Errorf("%q is no duration: want one such as 20ms", args[0])
		}
		faults.OpenFlow.MessageDelay, faults.Database.Delay = d, d
	case what == "good" && len(args) == 0:
	default:
		return errCommand
	}
	h.SetFaults(faults)
	return nil
}

// plug attaches or detaches the VMs of records by their names.
func (f *Fleet) plug(attach bool, vms []string) error {
	if len(vms) == 0 {
		return errCommand
	}
	var errs []error
	for _, vm := range vms {
		n, err := strconv.Atoi(strings.TrimPrefix(vm, "vm"))
		if err != nil || n < 0 || n >= f.layout.plan.Records || f.layout.Record(n).VM != vm {
			errs = append(errs, fmt.Errorf("%q is no VM: want vm0 to vm%d", vm, f.layout.plan.Records-1))
			continue
		}
		r := f.layout.Record(n)
		switch {
		case r.Host < 0:
			err = fmt.Errorf("no host has %s's routing domain", vm)
		case attach:
			err = f.Attach(n)
		default:
			err = f.hosts[r.Host].Detach(vm)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
