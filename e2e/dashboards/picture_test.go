//go:build e2e

package dashboards

import (
	"bytes"
	"cmp"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"slices"
)

// maxPicture is the largest picture that is worth keeping in a repository.
const maxPicture = 250_000

// rgb is a colour, as 0xRRGGBB.
type rgb uint32

func (c rgb) color() color.RGBA {
	return color.RGBA{R: uint8(c >> 16), G: uint8(c >> 8), B: uint8(c), A: 0xff}
}

// like is the same for colours that differ little.
func (c rgb) like() rgb { return c & 0xf8f8f8 }

// shrink reduces a picture to the colours that matter. A dashboard has few of
// them, and the edges of its letters have many that look the same.
func shrink(picture []byte) ([]byte, error) {
	decoded, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		return nil, err
	}
	full := image.NewRGBA(decoded.Bounds())
	draw.Draw(full, full.Bounds(), decoded, full.Bounds().Min, draw.Src)
	counts := make(map[rgb]int)
	eachPixel(full, func(_ int, c rgb) { counts[c]++ })
	small := image.NewPaletted(full.Bounds(), commonColours(counts))
	index := make(map[rgb]uint8, len(counts))
	for c := range counts {
		index[c] = uint8(small.Palette.Index(c.color()))
	}
	eachPixel(full, func(i int, c rgb) { small.Pix[i] = index[c] })
	var encoded bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	err = encoder.Encode(&encoded, small)
	return encoded.Bytes(), err
}

func eachPixel(picture *image.RGBA, do func(i int, c rgb)) {
	for i := 0; i < len(picture.Pix); i += 4 {
		do(i/4, rgb(picture.Pix[i])<<16|rgb(picture.Pix[i+1])<<8|rgb(picture.Pix[i+2]))
	}
}

// commonColours are the most frequent colours, as many as a palette holds. Of
// those that differ little, one stands for all.
func commonColours(counts map[rgb]int) color.Palette {
	const places = 256
	type group struct {
		pixels, most int
		colour       rgb
	}
	groups := make(map[rgb]group)
	for _, c := range slices.Sorted(maps.Keys(counts)) {
		g, n := groups[c.like()], counts[c]
		g.pixels += n
		if n > g.most {
			g.most, g.colour = n, c
		}
		groups[c.like()] = g
	}
	byFrequency := func(a, b group) int { return cmp.Or(cmp.Compare(b.pixels, a.pixels), cmp.Compare(a.colour, b.colour)) }
	ordered := slices.SortedFunc(maps.Values(groups), byFrequency)
	var palette color.Palette
	for _, g := range ordered[:min(places, len(ordered))] {
		palette = append(palette, g.colour.color())
	}
	return palette
}
