package ovsproc

import (
	"os"
	"os/exec"
	"strings"
)

// systemDirs are where Debian keeps the daemons, ip and nft. A user's PATH
// there lacks them.
const systemDirs = "/usr/sbin:/sbin"

// LookPath finds a command as [exec.LookPath] does, and also in /usr/sbin and
// /sbin. The error is that of exec.LookPath.
func LookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil || strings.Contains(name, "/") {
		return path, err
	}
	for dir := range strings.SplitSeq(systemDirs, ":") {
		if path, err := exec.LookPath(dir + "/" + name); err == nil {
			return path, nil
		}
	}
	return "", err
}

// Environ returns the environment of a command: this process's, where commands
// are looked up as [LookPath] does, and more. A switch's directory of sockets,
// unless it is "", is where the tools of Open vSwitch find it.
func Environ(dir string, more ...string) []string {
	path := systemDirs
	if p := os.Getenv("PATH"); p != "" {
		path = p + ":" + systemDirs
	}
	env := append(os.Environ(), "PATH="+path)
	if dir != "" {
		env = append(env, "OVS_RUNDIR="+dir, "OVS_LOGDIR="+dir, "OVS_DBDIR="+dir)
	}
	return append(env, more...)
}
