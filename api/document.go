package api

import (
	"bytes"
	"net/http"

	"github.com/labstack/echo/v4"
)

// readDocument reads a body as text, of which the coordinator finds out what is wrong.
func readDocument(r *http.Request, most int64, tooLarge *problem) ([]byte, error) {
	if err := checkMediaType(r.Header); err != nil {
		return nil, err
	}
	return readCopy(r, most, tooLarge)
}

// readPatch is readDocument for a merge patch.
func readPatch(c echo.Context, most int64, tooLarge *problem) ([]byte, error) {
	r := c.Request()
	if err := checkMedia(r.Header, mergePatchType, errNotMergePatch); err != nil {
		c.Response().Header().Set("Accept-Patch", mergePatchType)
		return nil, err
	}
	return readCopy(r, most, tooLarge)
}

// readCopy is the text of a body, which the caller may keep.
func readCopy(r *http.Request, most int64, tooLarge *problem) ([]byte, error) {
	b, err := readText(r, most, tooLarge)
	if err != nil {
		return nil, err
	}
	defer b.release()
	return bytes.Clone(b.text.Bytes()), nil
}
