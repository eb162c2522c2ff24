package traefik

import (
	"path"
	"slices"
	"strings"
)

// recognised reports whether a container runs Traefik, by what anybody can
// write differently: the image's name, the command, or what the official
// image leaves in every image built on it.
func recognised(image string, argv []string, labels map[string]string) bool {
	if repository(image) == "traefik" {
		return true
	}
	if _, found := arguments(argv); found {
		return true
	}
	source, _ := label(labels, "org.opencontainers.image.source")
	return strings.TrimSuffix(source, "/") == "https://github.com/traefik/traefik"
}

// repository is the last part of an image's name, without tag and digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	image = path.Base(image)
	image, _, _ = strings.Cut(image, ":")
	return image
}

// wrappers start something else and go on with its words.
var wrappers = []string{"sh", "ash", "bash", "dash", "exec", "tini", "dumb-init", "docker-init", "catatonit", "roll-init"}

// arguments finds the words after "traefik" in what a container was started
// as. found is false when Traefik is not what it starts. The official image's
// entrypoint.sh adds "traefik" itself when it is given flags alone.
func arguments(argv []string) (args []string, found bool) {
	argv = words(argv)
	scripted := false
	for i, word := range argv {
		name := strings.TrimSuffix(path.Base(word), ".exe")
		switch {
		case strings.Contains(word, "://"):
			return nil, false
		case name == "traefik":
			return argv[i+1:], true
		case strings.HasSuffix(name, ".sh"):
			scripted = true
		case scripted && strings.HasPrefix(word, "-"):
			return argv[i:], slices.ContainsFunc(argv[i:], traefikFlag)
		case slices.Contains(wrappers, name) || strings.HasPrefix(word, "-"):
		default:
			return nil, false
		}
	}
	return nil, false
}

// traefikFlag reports whether a flag can only be meant for Traefik.
func traefikFlag(word string) bool {
	name := strings.ToLower(strings.TrimLeft(word, "-"))
	if name == word {
		return false
	}
	name, _, _ = strings.Cut(name, "=")
	for _, section := range []string{"providers", "entrypoints", "api", "certificatesresolvers"} {
		if name == section || strings.HasPrefix(name, section+".") {
			return true
		}
	}
	return name == "configfile"
}

// words takes apart what a shell is given to read: sh -c "exec traefik --api".
func words(argv []string) []string {
	i := slices.Index(argv, "-c")
	if i < 1 || i+1 >= len(argv) {
		return argv
	}
	var split []string
	for _, word := range strings.Fields(argv[i+1]) {
		split = append(split, strings.Trim(word, `"'`))
	}
	return append(slices.Clone(argv[:i]), split...)
}
