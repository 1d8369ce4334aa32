package detect

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/schemas/sources"
	"github.com/vagus-hub/vagus/services/detect/internal/author/price"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// benchOptions are the flags of bench.
type benchOptions struct {
	blocks string
	from   fromEvent
	set    []string
	rounds int
	whole  wholeSet
}

// maxBench bounds the events that are held in memory, in bytes of blocks.
const maxBench = 1 << 30

func (a *author) benchCommand() *cobra.Command {
	var o benchOptions
	c := &cobra.Command{
		Use: "bench RULE…", Short: "Price rules: time, candidates and memory on sample events, alone and within the set, or the set as a whole", SilenceUsage: true,
		Long: "Matches events with the matcher of the service, on one core, and says for each rule how many events it\n" +
			"reads, for how many it is evaluated, how many match, and what an event costs: alone, and beside the\n" +
			"other rules of the set. The events are the recorded samples of all built-in sources, a file of\n" +
			"blocks (vagus sources convert), or a file of events or records. Times are the least of --rounds.",
		Example: "  vagus rules bench ai-gateway.prompt-injection-burst\n  vagus rules bench rules/ai-gateway/key-shared.yml --set rules\n" +
			"  vagus sources convert -o events.blocks access.log && vagus rules bench rules/web --blocks events.blocks\n" +
			"  vagus rules bench --whole sigma/rules/windows --blocks events.blocks",
	}
	c.Flags().StringVar(&o.blocks, "blocks", "", "a `FILE` of blocks, made by vagus sources convert")
	c.Flags().StringVar(&o.from.event, "events", "", "a file of events in JSON or of raw records, - for standard input")
	c.Flags().StringVar(&o.from.source, "source", "", "the source of the records")
	c.Flags().StringSliceVar(&o.set, "set", nil, "files or folders of the other rules (default: the built-in rules)")
	c.Flags().IntVar(&o.rounds, "rounds", 5, "how often each time is measured")
	o.whole.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if o.from.source != "" && o.from.event == "" {
			return errors.New("bench: --source says of which source the records of --events are: give --events")
		}
		if o.whole.on {
			return a.benchWhole(c, o, args)
		}
		return a.bench(c, o, args)
	}
	return c
}

func (a *author) bench(c *cobra.Command, o benchOptions, args []string) error {
	rules, err := a.named(args, a.builtIn)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	var set []*rule.Rule
	if len(o.set) > 0 || a.Content != nil {
		if set, _, err = a.read(o.set); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
	}
	blocks, err := a.benchBlocks(c, o)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if len(blocks) == 0 {
		return errors.New("bench: there are no events")
	}
	out := []price.Price{}
	for _, r := range rules {
		if c.Context().Err() != nil {
			return c.Context().Err()
		}
		if len(rule.Matched([]*rule.Rule{r})) == 0 {
			continue // it reads the matches of others
		}
		out = append(out, price.Of(r, set, blocks, o.rounds))
	}
	w := c.OutOrStdout()
	if a.json {
		return a.print(w, out)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "EVENTS\tREAD\tCANDIDATES\tMATCHES\tNS/EVENT\tALLOCS/EVENT\tADDS TO THE SET\tSHARE\t  RULE")
	for _, p := range out {
		fmt.Fprintf(tw, "%d\t%d\t%d\t%d\t%.1f\t%.3f\t%.1f of %.1f ns\t%.1f %%\t  %s\n", p.Events, p.Read, p.Candidates, p.Matches, p.NsPerEvent, p.Allocs,
			p.AddsNs, p.SetNs+p.AddsNs, 100*p.Share(), p.Rule)
	}
	return tw.Flush()
}

// benchBlocks reads the events that rules are priced with.
func (a *author) benchBlocks(c *cobra.Command, o benchOptions) ([]*block.Block, error) {
	var out []*block.Block
	use := func(b *block.Block) error {
		own := *b
		out = append(out, &own)
		return nil
	}
	switch {
	case o.blocks != "" && o.from.event != "":
		return nil, errors.New("give --blocks or --events, not both")
	case o.blocks != "":
		return blockFile(o.blocks)
	case o.from.event != "":
		err := a.blocks(c, o.from, use)
		return out, err
	case a.Normalize == nil:
		return nil, errors.New("the samples of sources cannot be mapped by this program: use vagus, or give --blocks")
	}
	names, err := fs.Glob(sources.FS, "*/testdata/*.*")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		data, err := fs.ReadFile(sources.FS, name)
		if err != nil {
			return nil, err
		}
		// Samples have records that are to be dead letters: what maps counts.
		_ = a.normalized(path.Dir(path.Dir(name)), data, use)
	}
	return out, nil
}

// blockFile reads a file of blocks.
func blockFile(name string) ([]*block.Block, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	var out []*block.Block
	size := 0
	for {
		payload, err := block.ReadFramed(r, nil)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		if size += len(payload); size > maxBench {
			return nil, fmt.Errorf("read %s: more than %d MiB of events; give a part", name, maxBench>>20)
		}
		var b block.Block
		if err := block.Decode(bytes.Clone(payload), &b); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		out = append(out, &b)
	}
}
