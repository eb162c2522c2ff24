package compose

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestOnlyAnonymousVolumesThatNobodyUsesAreDiscarded(t *testing.T) {
	name := func(digit string) string { return strings.Repeat(digit, 64) }
	var removed []string
	remove := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("force") != "" && r.URL.Query().Get("force") != "0" {
				t.Error("removed by force")
			}
			removed = append(removed, r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:])
			says(code, `{"message":"so it is"}`)(w, r)
		}
	}
	routes := map[string]http.HandlerFunc{}
	for digit, code := range map[string]int{"a": http.StatusNoContent, "b": http.StatusConflict, "c": http.StatusNotFound, "d": http.StatusNoContent} {
		routes["DELETE volumes/"+name(digit)] = remove(code)
	}
	history := NewHistory(answers(t, routes).api)
	if err := history.Discard(t.Context(), []string{name("a"), "shop_data", name("b"), name("c"), "../containers/x", "", name("d")}); err != nil {
		t.Error(err)
	}
	if want := []string{name("a"), name("b"), name("c"), name("d")}; !slices.Equal(removed, want) {
		t.Errorf("asked to remove %q, want %q", removed, want)
	}
	routes["DELETE volumes/"+name("a")] = remove(http.StatusInternalServerError)
	if err := history.Discard(t.Context(), []string{name("a")}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("remove volume %.12s: ", name("a"))) {
		t.Errorf("error %v", err)
	}
}
