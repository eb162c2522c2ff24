package compose

import "testing"

func TestCallsAreCountedWithTheTimeTheyTook(t *testing.T) {
	invocation, _ := player(t, "2.40.3")
	c, err := Find(t.Context(), invocation)
	if err != nil {
		t.Fatal(err)
	}
	first := c.Spent()
	if c.Calls() != 1 || first <= 0 {
		t.Errorf("%d calls in %s to find it, want 1", c.Calls(), first)
	}
	if err := c.Create(t.Context(), "web", 2); err != nil {
		t.Fatal(err)
	}
	if c.Calls() != 2 || c.Spent() <= first {
		t.Errorf("%d calls in %s after one in %s, want 2 in more", c.Calls(), c.Spent(), first)
	}
}
