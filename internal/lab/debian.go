package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// enginePackages is what a private engine needs of Debian: dockerd, containerd, runc and the docker command line come
// with docker.io.
var enginePackages = []string{"docker.io", "iptables", "iproute2"}

// canInstall says why packages cannot be installed here; nil means they can.
func canInstall() error {
	if os.Geteuid() != 0 {
		return errors.New("not root")
	}
	for _, name := range []string{"apt-get", "dpkg"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("no %s: not Debian or Ubuntu", name)
		}
	}
	return nil
}

// policy keeps a package from starting its services while it is installed; see the Debian policy-rc.d specification.
const policy = "/usr/sbin/policy-rc.d"

// install installs packages by apt-get without starting the services that they bring.
func install(ctx context.Context, p *progress, packages ...string) error {
	f, err := os.OpenFile(policy, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	switch {
	case err == nil:
		defer os.Remove(policy)
		_, err = f.WriteString("#!/bin/sh\nexit 101\n")
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	apt := tool{env: []string{"DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}}
	return p.step("install "+strings.Join(packages, " "), func() error {
		if _, err := apt.run(ctx, "apt-get", "update", "-q"); err != nil {
			return err
		}
		_, err := apt.run(ctx, "apt-get", append([]string{"install", "-q", "-y", "--no-install-recommends"}, packages...)...)
		return err
	})
}

// suite is a private view of one Debian suite: packages of it are downloaded and unpacked into a folder, and nothing of
// the machine's own package state is read or changed.
type suite struct {
	name string
	dir  string
}

// openSuite fetches the package list of a suite from the mirror that this machine uses.
func openSuite(ctx context.Context, p *progress, s state, name string) (suite, error) {
	u := suite{name: name, dir: s.path("apt", name)}
	targets, err := tool{}.run(ctx, "apt-get", "indextargets", "--format", "$(SITE) $(COMPONENT)", "Created-By: Packages")
	if err != nil {
		return u, err
	}
	mirror := mirrorOf(targets)
	if mirror == "" {
		return u, errors.New("find a Debian mirror: no apt source of this machine ends in /debian")
	}
	for _, sub := range []string{"lists/partial", "cache/archives/partial", "debs"} {
		if err := os.MkdirAll(filepath.Join(u.dir, sub), 0o755); err != nil {
			return u, err
		}
	}
	files := map[string]string{
		"sources.list": fmt.Sprintf("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n", mirror, name),
		// Some mirrors stand still for weeks; what they serve is signed all the same.
		"apt.conf": fmt.Sprintf(`Acquire::Check-Valid-Until "false";
Dir::State "%[1]s";
Dir::State::lists "%[1]s/lists";
Dir::State::status "/dev/null";
Dir::Cache "%[1]s/cache";
Dir::Etc::sourcelist "%[1]s/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Acquire::Languages "none";
APT::Sandbox::User "root";
`, u.dir),
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(u.dir, file), []byte(text), 0o644); err != nil {
			return u, err
		}
	}
	return u, p.step("read the package list of Debian "+name, func() error {
		_, err := u.apt().run(ctx, "apt-get", "update", "-q")
		return err
	})
}

func (u suite) apt() tool {
	return tool{dir: filepath.Join(u.dir, "debs"), env: []string{"APT_CONFIG=" + filepath.Join(u.dir, "apt.conf"), "LC_ALL=C"}}
}

// candidate is the version of a package that the suite has now.
func (u suite) candidate(ctx context.Context, name string) (string, error) {
	out, err := u.apt().run(ctx, "apt-cache", "show", "--no-all-versions", name)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if v, ok := strings.CutPrefix(line, "Version: "); ok {
			return strings.TrimSpace(v), nil
		}
	}
	return "", fmt.Errorf("find package %s in Debian %s: it is not there", name, u.name)
}

// unpack downloads packages and unpacks them below dir.
func (u suite) unpack(ctx context.Context, p *progress, dir string, packages ...string) error {
	return p.step(fmt.Sprintf("unpack %s of Debian %s", strings.Join(packages, " "), u.name), func() error {
		debs := filepath.Join(u.dir, "debs")
		if err := os.RemoveAll(debs); err != nil {
			return err
		}
		if err := os.MkdirAll(debs, 0o755); err != nil {
			return err
		}
		if _, err := u.apt().run(ctx, "apt-get", append([]string{"download", "-q"}, packages...)...); err != nil {
			return err
		}
		found, err := filepath.Glob(filepath.Join(debs, "*.deb"))
		if err != nil {
			return err
		}
		for _, deb := range found {
			if _, err := (tool{}).run(ctx, "dpkg", "-x", deb, dir); err != nil {
				return err
			}
		}
		return nil
	})
}

// mirrorOf picks the Debian mirror out of apt-get indextargets' lines of "SITE COMPONENT".
func mirrorOf(targets string) string {
	for line := range strings.Lines(targets) {
		site, component, _ := strings.Cut(strings.TrimSpace(line), " ")
		if component == "main" && strings.HasSuffix(strings.TrimRight(site, "/"), "/debian") {
			return site
		}
	}
	return ""
}
