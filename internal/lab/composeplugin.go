package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	// composeVersion is what the lab provides where there is no Compose v2; see composebuild/go.mod.
	composeVersion = "2.40.3"
	// oldestCompose is the oldest Compose that roll works with.
	oldestCompose = "2.20"
)

// provideCompose makes `docker compose` work and returns its version, and the docker config folder to use: empty when
// the user's own does. It never writes to the user's.
func provideCompose(ctx context.Context, p *progress, s state) (version, config string, err error) {
	if _, err := exec.LookPath("docker"); err != nil {
		if why := canInstall(); why != nil {
			return "", "", fmt.Errorf("find the docker command line, and the lab cannot install it (%w): install docker-cli and Compose %s or newer", why, oldestCompose)
		}
		if err := install(ctx, p, "docker.io"); err != nil {
			return "", "", err
		}
		if _, err := exec.LookPath("docker"); err != nil { // newer Debians have it apart
			if err := install(ctx, p, "docker-cli"); err != nil {
				return "", "", err
			}
		}
	}
	if v, err := pluginVersion(ctx, ""); err == nil && versionAtLeast(v, oldestCompose) {
		return v, "", nil
	}

	config = s.path("config")
	plugin := filepath.Join(config, "cli-plugins", "docker-compose")
	if err := os.MkdirAll(filepath.Dir(plugin), 0o755); err != nil {
		return "", "", err
	}
	if v, err := pluginVersion(ctx, config); err == nil && versionAtLeast(v, oldestCompose) {
		return v, config, nil
	}
	binary := standaloneCompose(ctx)
	if binary == "" {
		binary = s.path("compose-v"+composeVersion, "docker-compose")
		if err := s.build(ctx, binary, func(tmp string) error { return fetchCompose(ctx, p, s, tmp) }); err != nil {
			return "", "", fmt.Errorf("provide Compose %s: %w", composeVersion, err)
		}
	}
	release, err := s.lock(ctx, "config")
	if err != nil {
		return "", "", err
	}
	defer release()
	_ = os.Remove(plugin)
	if err := os.Symlink(binary, plugin); err != nil {
		return "", "", err
	}
	version, err = pluginVersion(ctx, config)
	return version, config, err
}

// pluginVersion asks `docker compose` under the given docker config folder, or under the user's with "".
func pluginVersion(ctx context.Context, config string) (string, error) {
	t := tool{}
	if config != "" {
		t.env = []string{"DOCKER_CONFIG=" + config}
	}
	out, err := t.run(ctx, "docker", "compose", "version", "--short")
	return versionIn(out), err
}

// standaloneCompose is the path of a docker-compose that is new enough, or empty. The same file works as a plugin.
func standaloneCompose(ctx context.Context) string {
	path, err := exec.LookPath("docker-compose")
	if err != nil {
		return ""
	}
	out, err := tool{}.run(ctx, path, "version", "--short")
	if err != nil || !versionAtLeast(versionIn(out), oldestCompose) {
		return ""
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return ""
	}
	return path
}

// fetchCompose puts the pinned Compose at path: out of Debian's package while sid has exactly that version, which takes
// seconds, else built from source, which takes minutes.
func fetchCompose(ctx context.Context, p *progress, s state, path string) error {
	err := unpackCompose(ctx, p, s, path)
	if err == nil {
		return nil
	}
	p.printf("Compose %s does not come from Debian (%v); building it", composeVersion, err)
	dir, err := moduleDir("composebuild")
	if err != nil {
		return err
	}
	return p.step("build Compose "+composeVersion+" (4 minutes on two cores the first time)", func() error {
		return buildGo(ctx, dir, path, "github.com/docker/compose/v2/internal.Version=v"+composeVersion, "github.com/docker/compose/v2/cmd")
	})
}

func unpackCompose(ctx context.Context, p *progress, s state, path string) error {
	if why := canInstall(); why != nil {
		return why
	}
	u, err := openSuite(ctx, p, s, "sid")
	if err != nil {
		return err
	}
	version, err := u.candidate(ctx, "docker-compose")
	if err != nil {
		return err
	}
	if upstream, _, _ := strings.Cut(version, "-"); upstream != composeVersion {
		return fmt.Errorf("sid has %s", version)
	}
	dir, err := os.MkdirTemp(s.path(), "unpack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := u.unpack(ctx, p, dir, "docker-compose"); err != nil {
		return err
	}
	return os.Rename(filepath.Join(dir, "usr/libexec/docker/cli-plugins/docker-compose"), path)
}

// moduleDir is the folder of one of the lab's own modules, which keep the dependencies of big programs out of ours. It
// looks upwards from the working folder, so it works in every test of this repository.
func moduleDir(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module github.com/roll-deploy/roll\n") {
			return filepath.Join(dir, "internal", "lab", name), nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("find the source of roll: run this inside its checkout")
		}
	}
}

// buildGo builds one static program of the module in dir. set is a string variable given to the linker, as NAME=VALUE.
func buildGo(ctx context.Context, dir, output, set, pkg string) error {
	flags := "-s -w"
	if set != "" {
		flags += " -X " + set
	}
	t := tool{dir: dir, env: []string{"CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=readonly -buildvcs=false"}}
	_, err := t.run(ctx, "go", "build", "-ldflags", flags, "-o", output, pkg)
	return err
}
