package lab

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

const (
	// ServersImage holds the real programs of examples/servers, one image for all of them, and /roll-init.
	ServersImage = "roll-lab/servers"
	// serversBase is the same without /roll-init, which changes more often.
	serversBase = "roll-lab/servers-base"
	// serversSuite is the Debian release that the programs come from: the one whose behaviour was measured.
	serversSuite = "bookworm"
)

// serverPackages are the Debian packages of ServersImage; what they depend on comes with them.
var serverPackages = []string{
	"dash", "bash", "busybox", "coreutils", "libc-bin", "procps",
	"tini", "dumb-init", "catatonit", "supervisor",
	"nginx-light", "php8.2-fpm", "apache2-bin", "haproxy",
	"gunicorn", "uwsgi-core", "uwsgi-plugin-python3", "celery", "python3-redis", "redis-server",
	"puma", "unicorn", "ruby-sidekiq", "nodejs", "openjdk-17-jre-headless", "ecj", "erlang-base", "perl-base", "php8.2-cli",
	"python3-django", "python3-flask", "python3-waitress", "s6", "runit",
	"util-linux", "sudo", "gosu", "strace", "time",
}

// nodePackages are what Debian lacks, or cuts into hundreds of packages.
var nodePackages = []string{"npm@10.9.4", "nodemon@3.1.14", "pm2@7.0.4"}

// pythonFolders hold modules that are compiled once here, as maintainer scripts do. Else every container would compile what
// it imports, at its start and into its own layer.
var pythonFolders = []string{"/usr/lib/python3", "/usr/lib/python3.11"}

// pamForRoot lets root become anybody; the packages' own rules include files that only a configuration makes.
const pamForRoot = "auth sufficient pam_rootok.so\naccount required pam_permit.so\nsession required pam_permit.so\n"

// serverFiles are what maintainer scripts would have made: packages are unpacked, never configured.
var serverFiles = map[string]string{
	"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n" +
		"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
	"etc/group":         "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n",
	"etc/nsswitch.conf": "hosts: files dns\n",
	"etc/pam.d/su":      pamForRoot, "etc/pam.d/runuser": pamForRoot, "etc/pam.d/sudo": pamForRoot,
}

// serverLinks are symbolic links that maintainer scripts would have made, as link and target.
var serverLinks = map[string]string{
	"usr/bin/sh":          "dash",
	"usr/bin/java":        "../lib/jvm/java-17-openjdk-amd64/bin/java",
	"usr/bin/npm":         "../../opt/node/node_modules/npm/bin/npm-cli.js",
	"usr/bin/nodemon":     "../../opt/node/node_modules/nodemon/bin/nodemon.js",
	"usr/bin/pm2":         "../../opt/node/node_modules/pm2/bin/pm2",
	"usr/bin/pm2-runtime": "../../opt/node/node_modules/pm2/bin/pm2-runtime",

	"usr/lib/uwsgi/plugins/python3_plugin.so": "python311_plugin.so",
}

// serversKey names a state of the recipe above: another one is another image.
func serversKey() string {
	sum := sha256.New()
	fmt.Fprintln(sum, serversSuite, serverPackages, nodePackages, pythonFolders, serverFiles, serverLinks) // maps print sorted
	return hex.EncodeToString(sum.Sum(nil))[:16]
}

// Servers makes sure that the engine has ServersImage and returns its name. The first time it downloads some 170 MB from
// Debian's mirror and the package registry of Node, which takes a few minutes and needs root on Debian or Ubuntu; the
// result is kept outside the checkout.
func (l *Lab) Servers(ctx context.Context) (string, error) {
	pid1, pid1Source, err := l.program(ctx, "roll-init", filepath.Join("..", "..", "cmd", "roll-init"))
	if err != nil {
		return "", fmt.Errorf("build roll-init: %w", err)
	}
	key := serversKey()
	base, ref := serversBase+":"+key, ServersImage+":latest"
	label := key + "-" + pid1Source

	release, err := l.state.lock(ctx, "servers-image")
	if err != nil {
		return "", err
	}
	defer release()
	found, err := l.Docker.ImageInspect(ctx, ref)
	if err == nil && found.Config != nil && found.Config.Labels[sourceLabel] == label {
		return ref, nil
	}
	if err != nil && !errdefs.IsNotFound(err) {
		return "", err
	}
	if _, err := l.Docker.ImageInspect(ctx, base); errdefs.IsNotFound(err) {
		if err := l.importServers(ctx, base, key); err != nil {
			return "", fmt.Errorf("make the image of the servers: %w", err)
		}
	} else if err != nil {
		return "", err
	}
	if err := addProgram(ctx, l.Docker, base, pid1, ref, label); err != nil {
		return "", fmt.Errorf("add roll-init to the image of the servers: %w", err)
	}
	return ref, nil
}

// importServers imports the root folder of the servers, which it builds when no earlier run has.
func (l *Lab) importServers(ctx context.Context, ref, key string) error {
	root := l.state.path("servers-"+key, "root")
	err := l.state.build(ctx, root, func(tmp string) error {
		if why := canInstall(); why != nil {
			return fmt.Errorf("unpack the servers of Debian %s: %w; they need root, apt-get and dpkg, so run the tests of the servers as root on Debian or Ubuntu", serversSuite, why)
		}
		if err := os.RemoveAll(tmp); err != nil {
			return err
		}
		return l.buildServers(ctx, tmp)
	})
	if err != nil {
		return err
	}
	return l.progress.step("import "+ref, func() error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		pack := exec.CommandContext(ctx, "tar", "-C", root, "--numeric-owner", "-cf", "-", ".")
		archive, err := pack.StdoutPipe()
		if err != nil {
			return err
		}
		if err := pack.Start(); err != nil {
			return fmt.Errorf("pack %s: %w", root, err)
		}
		body, err := l.Docker.ImageImport(ctx, image.ImportSource{Source: archive, SourceName: "-"}, ref,
			image.ImportOptions{Changes: []string{"ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin"}})
		if err == nil {
			err = errors.Join(readStream(body, func() {}), body.Close())
		}
		if err != nil {
			cancel()
			return errors.Join(fmt.Errorf("import %s: %w", ref, err), pack.Wait())
		}
		if err := pack.Wait(); err != nil {
			return fmt.Errorf("pack %s: %w", root, err)
		}
		return nil
	})
}

// buildServers unpacks the programs into root.
func (l *Lab) buildServers(ctx context.Context, root string) error {
	u, err := openSuite(ctx, l.progress, l.state, serversSuite)
	if err != nil {
		return err
	}
	if err := u.unpackAll(ctx, l.progress, root, serverPackages...); err != nil {
		return err
	}
	for name, text := range serverFiles {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	err = l.progress.step("compile the Python modules", func() error {
		// Some packages ship files for other versions of Python, which do not compile: the exit code says nothing.
		args := []string{root, "/bin/sh", "-c", `/usr/bin/python3 -m compileall -q "$@" || test $? -eq 1`, "sh"}
		_, err := tool{}.run(ctx, "chroot", append(args, pythonFolders...)...)
		return err
	})
	if err != nil {
		return err
	}
	if err := l.addNodePackages(ctx, root); err != nil {
		return err
	}
	for link, target := range serverLinks {
		path := filepath.Join(root, link)
		if err := errors.Join(os.RemoveAll(path), os.Symlink(target, path)); err != nil {
			return err
		}
	}
	return nil
}

// addNodePackages installs nodePackages with the npm of this machine, which it installs when there is none.
func (l *Lab) addNodePackages(ctx context.Context, root string) error {
	if _, err := exec.LookPath("npm"); err != nil {
		if err := install(ctx, l.progress, "npm"); err != nil {
			return err
		}
	}
	dir := filepath.Join(root, "opt", "node")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return l.progress.step("install "+strings.Join(nodePackages, " "), func() error {
		args := []string{"install", "--prefix", dir, "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--loglevel=error"}
		_, err := tool{dir: dir}.run(ctx, "npm", append(args, nodePackages...)...)
		return err
	})
}

// unpackAll downloads packages with all that they depend on, and unpacks them below dir without configuring any.
// Documentation and translations are left out.
func (u suite) unpackAll(ctx context.Context, p *progress, dir string, packages ...string) error {
	archives := filepath.Join(u.dir, "cache", "archives")
	err := p.step(fmt.Sprintf("download %d packages of Debian %s and what they depend on", len(packages), u.name), func() error {
		// No package counts as installed here, so that everything comes.
		args := []string{"install", "-q", "-y", "--download-only", "--no-install-recommends", "-o", "Debug::NoLocking=1"}
		_, err := u.apt().run(ctx, "apt-get", append(args, packages...)...)
		return err
	})
	if err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(archives, "*.deb"))
	if err != nil {
		return err
	}
	// Everything lies in /usr, as on an installed system.
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.MkdirAll(filepath.Join(dir, "usr", name), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(filepath.Join("usr", name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	for _, name := range []string{"etc", "run", "root", "proc", "sys", "dev", "app", "var"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "tmp"), 0o755), os.Chmod(filepath.Join(dir, "tmp"), 0o777|os.ModeSticky)); err != nil {
		return err
	}
	err = p.step(fmt.Sprintf("unpack %d packages", len(debs)), func() error {
		for _, deb := range debs {
			if err := unpackDeb(ctx, deb, dir); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, deb := range debs { // they take room, and nobody needs them twice
		if err := os.Remove(deb); err != nil {
			return err
		}
	}
	return nil
}

// unneeded are paths that no program of the image reads.
var unneeded = []string{
	"./usr/share/doc", "./usr/share/man", "./usr/share/locale", "./usr/share/info", "./usr/share/lintian", "./usr/share/fonts",
	"./usr/lib/systemd", "./lib/systemd", "./usr/lib/udev", "./usr/lib/x86_64-linux-gnu/perl*", "./usr/share/perl*", "./usr/lib/git-core",
}

// unpackDeb unpacks one package. dpkg's own -x would replace the links to /usr by folders.
func unpackDeb(ctx context.Context, deb, dir string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	args := []string{"-x", "-C", dir, "--keep-directory-symlink"}
	for _, path := range unneeded {
		args = append(args, "--exclude="+path)
	}
	from := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	to := exec.CommandContext(ctx, "tar", args...)
	var said bytes.Buffer
	from.Stderr, to.Stderr = &said, &said
	var err error
	if to.Stdin, err = from.StdoutPipe(); err != nil {
		return err
	}
	if err := to.Start(); err != nil {
		return err
	}
	if err := errors.Join(from.Run(), to.Wait()); err != nil {
		return fmt.Errorf("unpack %s: %w\n%s", filepath.Base(deb), err, lastLines(said.String(), 5))
	}
	return nil
}

// addProgram makes the image ref out of base and one program in its root folder.
func addProgram(ctx context.Context, c *client.Client, base, binary, ref, label string) error {
	made, err := c.ContainerCreate(ctx, &container.Config{Image: base, Cmd: []string{"/bin/true"}, Labels: map[string]string{ownerLabel: "image"}}, nil, nil, nil, "")
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := detached(ctx)
		defer cancel()
		_ = c.ContainerRemove(ctx, made.ID, container.RemoveOptions{Force: true})
	}()
	r, w := io.Pipe()
	defer r.Close()
	go func() {
		t := tar.NewWriter(w)
		w.CloseWithError(errors.Join(writeProgram(t, binary), t.Close()))
	}()
	if err := c.CopyToContainer(ctx, made.ID, "/", r, container.CopyToContainerOptions{}); err != nil {
		return err
	}
	_, err = c.ContainerCommit(ctx, made.ID, container.CommitOptions{
		Reference: ref, Changes: []string{"CMD []", "LABEL " + sourceLabel + "=" + label},
	})
	return err
}
