// How ids are read that people type.

@export()
@description('The subscription ids of a list separated by commas: in lower case, each once, without what is empty. A trailing comma would otherwise name the subscription of the deployment, and a repeated id the same deployment twice.')
func subscriptionIds(list string) array =>
  union(filter(map(split(toLower(list), ','), id => trim(id)), id => !empty(id)), [])
