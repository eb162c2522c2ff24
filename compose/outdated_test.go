package compose

import "testing"

func TestOutdated(t *testing.T) {
	r := Replica{Image: "web:2", ImageID: "sha256:cd34cd34cd34cd34", ConfigHash: "aaaabbbb", Version: "2.39.1"}
	tests := map[string]struct {
		hash, image string
		want        string
	}{
		"the same":              {"aaaabbbb", "sha256:cd34cd34cd34cd34", ""},
		"nothing known":         {"", "", ""},
		"another image":         {"aaaabbbb", "sha256:ab12ab12ab12ab12", "image web:2 is now sha256:ab12ab12ab12… (this one runs sha256:cd34cd34cd34…)"},
		"another configuration": {"ccccdddd", "sha256:cd34cd34cd34cd34", "configuration changed (hash aaaa… -> cccc…, written by Compose 2.39.1)"},
		"both: the image reference may be another one": {"ccccdddd", "sha256:ab12", "configuration changed (hash aaaa… -> cccc…, written by Compose 2.39.1)"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			reason, outdated := Outdated(r, test.hash, test.image)
			if reason != test.want || outdated != (test.want != "") {
				t.Errorf("got %q, %v", reason, outdated)
			}
		})
	}
	if reason, outdated := Outdated(Replica{}, "ccccdddd", ""); !outdated || reason != "it carries no configuration hash" {
		t.Errorf("without a hash: got %q, %v", reason, outdated)
	}
}

func TestStaleReplicasAreOutdated(t *testing.T) {
	actions, err := ParseRehearsal([]byte(`{"id":"Container shop-web-1","status":"Running"}
{"id":"Container shop-web-2","status":"Recreate"}
{"id":"Container shop-web-2","status":"Recreated"}
{"id":"Container shop-web-3","status":"Recreate"}
{"error":true,"message":"Could not find the file / in container 654d00607b6f_shop-web-3"}
{"id":"Network shop_front","status":"Removed"}
`))
	if err != nil {
		t.Fatal(err)
	}
	if !cutShort(actions) {
		t.Error("a copy into a container that would be replaced does not count as one that cannot be rehearsed")
	}
	tests := map[string]struct{ name, image, want string }{
		"the same":           {"shop-web-1", "sha256:aa", ""},
		"image not known":    {"shop-web-1", "", ""},
		"another image":      {"shop-web-1", "sha256:bb", "image is now sha256:bb (this one runs sha256:aa of web:1)"},
		"recreated":          {"shop-web-2", "sha256:aa", "configuration changed: docker compose up would replace it"},
		"only just shown":    {"shop-web-3", "sha256:aa", "configuration changed: docker compose up would replace it"},
		"both":               {"shop-web-2", "sha256:bb", "image is now sha256:bb (this one runs sha256:aa of web:1)"},
		"of another service": {"shop-db-1", "sha256:aa", ""},
	}
	for name, test := range tests {
		reason, outdated := stale(actions).Outdated(Replica{Name: test.name, ImageID: "sha256:aa", Image: "web:1"}, test.image)
		if reason != test.want || outdated != (test.want != "") {
			t.Errorf("%s: got %q, %v", name, reason, outdated)
		}
	}
}
