package correlate

// arena hands out blocks of T from big chunks, without a pointer or an
// allocation a block, and takes them back by size. A ref names a block: the
// chunk in the upper bits, the place in the lower ones.
type arena[T any] struct {
	shift  uint // chunks have 1<<shift elements
	chunks [][]T
	next   int // first free element of the last ordinary chunk
	last   int // the last ordinary chunk, -1 if there is none
	free   map[int][]ref
	empty  []int // chunks of big blocks that were given back
}

type ref uint32

func newArena[T any](shift uint) *arena[T] {
	return &arena[T]{shift: shift, last: -1, free: map[int][]ref{}}
}

// alloc returns a block of exactly n elements, which may hold anything.
func (a *arena[T]) alloc(n int) ref {
	if list := a.free[n]; len(list) > 0 {
		a.free[n] = list[:len(list)-1]
		return list[len(list)-1]
	}
	size := 1 << a.shift
	if n > size {
		// A big block has a chunk of its own.
		if k := len(a.empty); k > 0 {
			i := a.empty[k-1]
			a.empty = a.empty[:k-1]
			a.chunks[i] = make([]T, n)
			return ref(i << a.shift)
		}
		a.chunks = append(a.chunks, make([]T, n))
		return ref((len(a.chunks) - 1) << a.shift)
	}
	if a.last < 0 || a.next+n > size {
		a.chunks = append(a.chunks, make([]T, size))
		a.last, a.next = len(a.chunks)-1, 0
	}
	r := ref(a.last<<a.shift | a.next)
	a.next += n
	return r
}

// at is the block of n elements that r names.
func (a *arena[T]) at(r ref, n int) []T {
	if n == 0 {
		return nil
	}
	i := int(r) & (1<<a.shift - 1)
	return a.chunks[r>>a.shift][i : i+n : i+n]
}

// release takes a block back.
func (a *arena[T]) release(r ref, n int) {
	if n > 1<<a.shift {
		i := int(r >> a.shift)
		a.chunks[i] = nil
		a.empty = append(a.empty, i)
		return
	}
	if n > 0 {
		a.free[n] = append(a.free[n], r)
	}
}
