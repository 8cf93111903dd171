// The risk catalogue, by id.
local catalogue = std.parseYaml(importstr '../catalogue/catalogue.yaml');
{
  local risks = { [risk.id]: risk for risk in catalogue.risks },
  risk(id):: if std.objectHas(risks, id) then risks[id] else error 'no risk %s in the catalogue' % id,
  threshold(id, step):: self.risk(id).thresholds[step],
}
