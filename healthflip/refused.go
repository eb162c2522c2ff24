package healthflip

// RefusedError says that the replica answered a flip or an un-flip, and that
// its answer was no: an HTTP status that is not 2xx, an exit code that is not
// 0. Everything else that goes wrong may be the Engine's fault or the
// network's and says nothing about the replica.
type RefusedError struct{ text string }

func (e *RefusedError) Error() string { return e.text }

// Refused is true: it marks the error for callers that know it by its shape.
func (e *RefusedError) Refused() bool { return true }
