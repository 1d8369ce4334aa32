package bus

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vagus-hub/vagus/schemas/subjects"
)

// An object of the object store is messages of one stream: the chunks, and then
// one that describes it, as the client library lays them out. The library itself
// is not used: its reader waits for a chunk that is gone until its deadline, deaf
// to a cancelled context; its Delete leaves a message for each name there ever
// was; its Put may leave a goroutine.
const (
	objectStream = "OBJ_" + subjects.StoreState
	objectMetas  = "$O." + subjects.StoreState + ".M."
	objectChunks = "$O." + subjects.StoreState + ".C."
)

// strayAge is more than the writing of an object takes; older chunks that belong
// to no object are removed, and strayInterval is how often it is looked for them.
const (
	strayAge      = time.Hour
	strayInterval = time.Hour
)

func objectMeta(name string) string {
	return objectMetas + base64.URLEncoding.EncodeToString([]byte(name))
}

// errUnusable says of an object that it is gone or damaged: not that the bus
// would not give it.
var errUnusable = errors.New("it cannot be used")

// describeObject reads what describes an object. The error wraps ErrNotFound and
// errUnusable when it is gone.
func describeObject(ctx context.Context, st jetstream.Stream, name string) (info jetstream.ObjectInfo, err error) {
	m, err := st.GetLastMsgForSubject(ctx, objectMeta(name))
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return info, classify("object "+name, err)
	}
	if err == nil {
		if err := json.Unmarshal(m.Data, &info); err != nil {
			return info, fmt.Errorf("object %s: %w: %w: %w", name, ErrRefused, errUnusable, err)
		}
	}
	if err != nil || info.Deleted {
		return info, fmt.Errorf("object %s: %w: %w", name, ErrNotFound, errUnusable)
	}
	return info, nil
}

// readObject reads an object. When it is gone or damaged the error wraps
// errUnusable, besides ErrNotFound or ErrRefused.
func (b *Bus) readObject(ctx context.Context, name string) (jetstream.ObjectInfo, []byte, error) {
	st, err := b.js.Stream(ctx, objectStream)
	if err != nil {
		return jetstream.ObjectInfo{}, nil, classify("object "+name, err)
	}
	info, err := describeObject(ctx, st, name)
	if err != nil {
		return info, nil, err
	}
	var data bytes.Buffer
	if info.Size > 0 {
		for rec, err := range b.ReadFrom(ctx, objectStream, []string{objectChunks + info.NUID}, 1, 0) {
			if err != nil {
				return info, nil, fmt.Errorf("object %s: %w", name, err)
			}
			data.Write(rec.Data)
		}
	}
	sum := sha256.New()
	sum.Write(data.Bytes())
	if jetstream.GetObjectDigestValue(sum) != info.Digest {
		return info, nil, fmt.Errorf("object %s: %w: %w: %d of %d bytes are there, and the digest is another", name, ErrRefused, errUnusable, data.Len(), info.Size)
	}
	return info, data.Bytes(), nil
}

// How an object is cut, and how much of it is on its way at a time: alerts share
// the window of unacknowledged messages.
const (
	chunkSize   = 1 << 20
	chunksAhead = 4
)

// writeObject writes an object, in place of one that there is. Data must not be
// changed afterwards. After an error it may be there or not.
func (b *Bus) writeObject(ctx context.Context, name string, metadata map[string]string, data []byte) error {
	st, err := b.js.Stream(ctx, objectStream)
	if err != nil {
		return classify("object "+name, err)
	}
	old, err := describeObject(ctx, st, name)
	if err != nil && !errors.Is(err, errUnusable) {
		return err
	}
	err = nil
	info := jetstream.ObjectInfo{
		ObjectMeta: jetstream.ObjectMeta{Name: name, Metadata: metadata, Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunkSize}},
		Bucket:     subjects.StoreState, NUID: rand.Text(), Size: uint64(len(data)),
	}
	sum := sha256.New()
	sum.Write(data)
	info.Digest = jetstream.GetObjectDigestValue(sum)
	results := make(chan error, chunksAhead)
	send := func(m Msg) error {
		return b.pub.send(ctx, m, false, func(_ Ack, err error) { results <- err })
	}
	ahead := 0
	settle := func(left int) (err error) {
		for ; ahead > left; ahead-- {
			select {
			case rerr := <-results:
				err = errors.Join(err, rerr)
			case <-ctx.Done():
				return fmt.Errorf("object %s: %w: %w", name, ErrBusy, ctx.Err())
			}
		}
		return err
	}
	for chunk := range slices.Chunk(data, chunkSize) {
		if err = settle(chunksAhead - 1); err == nil {
			err = send(Msg{Subject: objectChunks + info.NUID, Data: chunk})
		}
		if err != nil {
			break
		}
		info.Chunks++
		ahead++
	}
	if err = errors.Join(err, settle(0)); err == nil {
		var text []byte
		if text, err = json.Marshal(info); err == nil {
			err = send(Msg{Subject: objectMeta(name), Header: Header{jetstream.MsgRollup: {jetstream.MsgRollupSubject}}, Data: text})
		}
		if err == nil {
			ahead++
			err = settle(0)
		}
	}
	if err != nil {
		// What is still on its way is removed later, see removeStrays.
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = st.Purge(late, jetstream.WithPurgeSubject(objectChunks+info.NUID))
		return fmt.Errorf("object %s: %w", name, err)
	}
	if old.NUID != "" {
		return classify("object "+name, st.Purge(ctx, jetstream.WithPurgeSubject(objectChunks+old.NUID)))
	}
	return nil
}

// removeObject deletes an object and leaves nothing; it is no error if there is
// none. What describes it goes last, so that it can be found until all is gone.
func (b *Bus) removeObject(ctx context.Context, name string) error {
	st, err := b.js.Stream(ctx, objectStream)
	if err != nil {
		return classify("remove object "+name, err)
	}
	m, err := st.GetLastMsgForSubject(ctx, objectMeta(name))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return classify("remove object "+name, err)
	}
	var info jetstream.ObjectInfo
	if json.Unmarshal(m.Data, &info) == nil && info.NUID != "" {
		if err := st.Purge(ctx, jetstream.WithPurgeSubject(objectChunks+info.NUID)); err != nil {
			return classify("remove object "+name, err)
		}
	}
	return classify("remove object "+name, st.Purge(ctx, jetstream.WithPurgeSubject(objectMeta(name))))
}

// listObjects returns the names of objects that begin with prefix, those that
// were deleted and left a message among them.
func (b *Bus) listObjects(ctx context.Context, prefix string) (names []string, err error) {
	st, err := b.js.Stream(ctx, objectStream)
	if err != nil {
		return nil, classify("list objects", err)
	}
	info, err := st.Info(ctx, jetstream.WithSubjectFilter(objectMetas+">"))
	if err != nil {
		return nil, classify("list objects", err)
	}
	for subject := range info.State.Subjects {
		name, err := base64.URLEncoding.DecodeString(strings.TrimPrefix(subject, objectMetas))
		if err == nil && strings.HasPrefix(string(name), prefix) {
			names = append(names, string(name))
		}
	}
	return names, nil
}

// removeStrays deletes chunks that are older than age and that no object has:
// their writer was killed or too slow. Age must be more than writing may take.
func (b *Bus) removeStrays(ctx context.Context, age time.Duration) error {
	st, err := b.js.Stream(ctx, objectStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // an edge has none
	}
	if err != nil {
		return classify("list chunks", err)
	}
	// Before the objects, so that one that is finished in between is known.
	info, err := st.Info(ctx, jetstream.WithSubjectFilter(objectChunks+">"))
	if err != nil {
		return classify("list chunks", err)
	}
	names, err := b.listObjects(ctx, "")
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, name := range names {
		object, err := describeObject(ctx, st, name)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		known[objectChunks+object.NUID] = true
	}
	for subject := range info.State.Subjects {
		if known[subject] {
			continue
		}
		m, err := st.GetLastMsgForSubject(ctx, subject)
		if err == nil && time.Since(m.Time) > age {
			err = st.Purge(ctx, jetstream.WithPurgeSubject(subject))
		}
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return classify("remove chunks "+subject, err)
		}
	}
	return nil
}
