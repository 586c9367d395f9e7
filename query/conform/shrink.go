package conform

// Shrink leaves statements out of a script as long as what is wrong with its last one still is.
func Shrink(steps []Step, wrong func([]Step) bool) []Step {
	for size := (len(steps) - 1) / 2; size > 0; size /= 2 {
		for from := 0; from+size < len(steps); {
			less := append(append([]Step{}, steps[:from]...), steps[from+size:]...)
			if wrong(less) {
				steps = less
			} else {
				from += size
			}
		}
	}
	return steps
}
