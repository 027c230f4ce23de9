package storage

import "github.com/tranship/tranship/internal/work"

// Fit returns what of m the store s can hold, and what it cannot.
func Fit(s Store, m Meta) (Meta, []Misfit) {
	const why = "the store has no place for it"
	var lost []Misfit
	has := s.Traits().Meta
	headers := m.ContentType + m.ContentEncoding + m.ContentLanguage + m.ContentDisposition + m.CacheControl
	if !has.Headers && headers != "" {
		m.ContentType, m.ContentEncoding, m.ContentLanguage, m.ContentDisposition, m.CacheControl = "", "", "", "", ""
		lost = append(lost, Misfit{Field: work.FieldHeaders, Why: why})
	}
	if !has.User && len(m.User) > 0 {
		m.User = nil
		lost = append(lost, Misfit{Field: work.FieldMetadata, Why: why})
	}
	if !has.Tags && len(m.Tags) > 0 {
		m.Tags = nil
		lost = append(lost, Misfit{Field: work.FieldTags, Why: why})
	}
	if !has.Class && m.Class != "" {
		m.Class = ""
		lost = append(lost, Misfit{Field: work.FieldClass, Why: why})
	}
	if !has.ModTime && !m.ModTime.IsZero() {
		lost = append(lost, Misfit{Field: work.FieldMTime, Why: why}) // it does no harm to a store without
	}
	if f, ok := s.(Fitter); ok {
		var more []Misfit
		m, more = f.Fit(m)
		lost = append(lost, more...)
	}
	return m, lost
}

// Losses returns the fields that no object from src can keep at dst, for as
// much as is known without an object. The storage class counts only if rule
// asks for one.
func Losses(src, dst Traits, rule work.ClassRule) []Misfit {
	from, to := src.Meta, dst.Meta
	var lost []Misfit
	for _, f := range []struct {
		field  work.Field
		wanted bool
		kept   bool
	}{
		{work.FieldHeaders, from.Headers, to.Headers},
		{work.FieldMetadata, from.User, to.User},
		{work.FieldTags, from.Tags, to.Tags},
		{work.FieldClass, rule != "", to.Class},
		{work.FieldMTime, from.ModTime, to.ModTime},
	} {
		if f.wanted && !f.kept {
			lost = append(lost, Misfit{Field: f.field, Why: "a store of kind " + dst.Name + " has no place for it"})
		}
	}
	return lost
}
