package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

var versionPattern = regexp.MustCompile(`\d+\.\d+(\.\d+)?`)

// versionIn finds the first version number in what a program printed; empty when there is none.
func versionIn(text string) string { return versionPattern.FindString(text) }

// versionAtLeast compares dotted numbers part by part; a missing part counts as zero.
func versionAtLeast(got, want string) bool {
	if got == "" {
		return false
	}
	g, w := strings.Split(got, "."), strings.Split(want, ".")
	for i := range max(len(g), len(w)) {
		a, b := part(g, i), part(w, i)
		if a != b {
			return a > b
		}
	}
	return true
}

func part(parts []string, i int) int {
	if i >= len(parts) {
		return 0
	}
	n, err := strconv.Atoi(parts[i])
	if err != nil {
		return 0
	}
	return n
}

// lookPath finds a program in a PATH that need not be the process's own.
func lookPath(name, path string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("find %s: %w", name, exec.ErrNotFound)
}
